"""``octcube bench --readers``: files that open, ratios that can be compared, and no torch."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from octcube_core import bench_readers
from octcube_core.cli import main
from octcube_core.errors import InputError
from octcube_core.readers import read_exam

TINY = (3, 64, 48)


def test_ratios_of_every_reader_are_given():
    result = json.loads(json.dumps(bench_readers.measure(TINY, repeats=1)))
    assert result["shape"] == [3, 64, 48]
    assert result["repeats"] == 15
    readers = {reader["name"]: reader for reader in result["readers"]}
    assert {name: reader["allowed"] for name, reader in readers.items()} == {
        "dicom": 1.3,
        "vol": 1.5,
        "png folder": 1.2,
    }
    for reader in readers.values():
        assert reader["seconds"] > 0
        assert reader["baseline_seconds"] > 0
        assert reader["ratio"] > 0


def test_the_measured_files_are_exams_of_the_asked_shape(tmp_path):
    voxels = np.arange(3 * 64 * 48, dtype=np.uint8).reshape(TINY)
    bench_readers.write_dicom(tmp_path / "a.dcm", voxels)
    bench_readers.write_vol(tmp_path / "b.vol", voxels)
    np.testing.assert_array_equal(read_exam(tmp_path / "a.dcm").volume.voxels, voxels)
    exam = read_exam(tmp_path / "b.vol")
    assert exam.volume.shape == TINY
    assert exam.volume.is_metric
    assert exam.laterality == "OD"


@pytest.mark.parametrize("as_json", [True, False])
def test_the_command_prints_the_ratios(monkeypatch, capsys, as_json):
    measure = bench_readers.measure
    monkeypatch.setattr(bench_readers, "measure", lambda repeats: measure(TINY, repeats))
    assert main(["bench", "--readers", *(["--json"] if as_json else [])]) == 0
    printed = capsys.readouterr().out
    for name in ("dicom", "vol", "png folder"):
        assert name in printed
    if as_json:
        assert len(json.loads(printed)["readers"]) == 3
    else:
        assert "Allowed" in printed


def test_measuring_readers_imports_no_torch():
    script = (
        "import sys; from octcube_core.bench_readers import measure; measure((1, 64, 16));"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_shape_too_small_is_refused():
    with pytest.raises(InputError, match="64 x 16"):
        bench_readers.measure((1, 8, 8))
