from dataclasses import fields

import numpy as np
import pytest

import octcube_core as oc
from octcube_core.analysis_file import read_analysis, write_analysis
from octcube_core.errors import InputError
from octcube_core.exam import Patient
from octcube_core.phantom import make_exam


def assert_equal(one, other):
    for field in fields(one):
        first, second = getattr(one, field.name), getattr(other, field.name)
        if isinstance(first, np.ndarray):
            np.testing.assert_array_equal(first, second)
            assert first.dtype == second.dtype
        elif field.name == "embeddings":
            assert list(first) == list(second)
            for name in first:
                np.testing.assert_array_equal(first[name], second[name])
        elif field.name == "enface":
            assert list(first) == list(second)
            for name in first:
                np.testing.assert_array_equal(first[name].maps, second[name].maps)
                np.testing.assert_array_equal(first[name].peaks, second[name].peaks)
                assert first[name].grid == second[name].grid
        else:
            assert first == second, field.name


@pytest.mark.parametrize("model", ["demo", "demo-coep", "demo-ga", "demo-mae"])
def test_what_was_written_is_read_bit_for_bit(tmp_path, model):
    exam = make_exam(1, shape=(12, 64, 64))
    analysis = oc.analyze(exam, oc.load_model(model))
    path = tmp_path / "one.analysis.npz"
    write_analysis(path, analysis)
    assert_equal(analysis, read_analysis(path))
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_nothing_of_the_patient_is_written(tmp_path):
    from dataclasses import replace

    who = Patient("Quagga^Zebedee", "MRN-4711", "1950-01-02", "2020-03-04")
    exam = replace(make_exam(1, shape=(12, 64, 64)), patient=who)
    path = tmp_path / "one.analysis.npz"
    write_analysis(path, oc.analyze(exam, oc.load_model("demo")))
    with np.load(path) as file:
        everything = b"".join(file[name].tobytes() for name in file.files)
    for word in (b"Quagga", b"Zebedee", b"4711", b"1950", b"2020"):
        assert word not in everything


@pytest.mark.parametrize("damage", ["truncated", "empty", "other", "format"])
def test_a_damaged_file_is_one_sentence(tmp_path, damage):
    path = tmp_path / "one.analysis.npz"
    if damage == "other":
        np.savez(path, a=np.zeros(3))
    elif damage == "format":
        np.savez(path, facts=np.frombuffer(b'{"format": 99}', np.uint8))
    else:
        write_analysis(path, oc.analyze(make_exam(1, shape=(12, 64, 64)), oc.load_model("demo")))
        content = path.read_bytes()
        path.write_bytes(b"" if damage == "empty" else content[: len(content) // 2])
    with pytest.raises(InputError, match="analyse again"):
        read_analysis(path)
