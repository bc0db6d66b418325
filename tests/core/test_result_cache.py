import os
from dataclasses import replace

import numpy as np
import pytest

import octcube_core as oc
from octcube_core.exam import EnFaceImage, OCTVolume, Patient
from octcube_core.phantom import make_exam
from octcube_core.result_cache import ResultCache


@pytest.fixture(scope="module")
def exam():
    return make_exam(1, shape=(12, 64, 64))


@pytest.fixture(scope="module")
def analysis(exam):
    return oc.analyze(exam, oc.load_model("demo"))


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def cache(tmp_path):
    return ResultCache(tmp_path / "cache")


def test_a_result_is_known_again_by_the_content(cache, exam, analysis, model, tmp_path):
    cache.put(cache.key(exam, model), analysis)
    same = replace(exam, source=tmp_path / "moved", patient=Patient("Another^Name"))
    found = ResultCache(cache.folder).get(cache.key(same, model))
    assert found.scores == analysis.scores
    np.testing.assert_array_equal(found.saliency, analysis.saliency)


def test_another_exam_model_or_setting_is_another_key(cache, exam, model):
    key = cache.key(exam, model)
    voxels = exam.volume.voxels.copy()
    voxels[0, 0, 0] += 1
    brighter = replace(exam, volume=OCTVolume(voxels, exam.volume.spacing_mm))
    other_spacing = replace(exam, volume=OCTVolume(exam.volume.voxels, (0.1, 0.1, 0.1)))
    image = EnFaceImage(exam.enface[0].pixels + 1, exam.enface[0].modality)
    other_image = replace(exam, enface=(image, *exam.enface[1:]))
    keys = {key, cache.key(exam, model, "fp32")}
    keys |= {cache.key(other, model) for other in (brighter, other_spacing, other_image)}
    model.write_bytes(b"weights of tomorrow")
    keys.add(cache.key(exam, model))
    assert len(keys) == 6
    model.write_bytes(b"weights")
    assert cache.key(exam, model) == key


def test_an_unchanged_model_is_read_once(cache, exam, model, monkeypatch):
    key = cache.key(exam, model)
    opened = []
    original = type(model).open

    def watched(self, *args, **options):
        opened.append(self.name)
        return original(self, *args, **options)

    monkeypatch.setattr(type(model), "open", watched)
    assert ResultCache(cache.folder).key(exam, model) == key
    assert "model.safetensors" not in opened


def test_the_least_used_go_first(cache, analysis):
    for number in range(4):
        cache.put(f"{number}", analysis)
        os.utime(cache.folder / f"{number}.analysis.npz", (1000 + number,) * 2)
    one = cache.size // 4
    assert cache.get("0") is not None  # used just now
    small = ResultCache(cache.folder, most_bytes=3 * one + one // 2)
    small.put("4", analysis)
    left = sorted(path.name.partition(".")[0] for path in cache.folder.glob("*.npz"))
    assert left == ["0", "3", "4"]
    assert small.size <= small.most_bytes
    small.clear()
    assert small.size == 0


def test_a_smaller_cache_drops_at_once_and_one_of_nothing_keeps_nothing(cache, analysis):
    for number in range(3):
        cache.put(str(number), analysis)
        os.utime(cache.folder / f"{number}.analysis.npz", (number, number))
    cache.resize(cache.size // 2)
    assert [cache.get(str(number)) is not None for number in range(3)] == [False, False, True]
    cache.resize(0)
    assert not list(cache.folder.glob("*.npz"))
    nothing = ResultCache(cache.folder / "nothing", 0)
    nothing.put("3", analysis)
    assert not nothing.folder.exists()  # not even for a moment


def test_a_damaged_result_is_none_and_goes(cache, analysis):
    cache.put("a", analysis)
    path = cache.folder / "a.analysis.npz"
    path.write_bytes(path.read_bytes()[:100])
    assert cache.get("a") is None
    assert not path.exists()
    assert cache.get("never there") is None


def test_a_folder_that_cannot_be_written_to_costs_nothing(tmp_path, analysis):
    (tmp_path / "file").write_text("no folder")
    cache = ResultCache(tmp_path / "file" / "cache")
    cache.put("a", analysis)
    assert cache.get("a") is None
