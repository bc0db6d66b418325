"""Ctrl-C while an exam is exported: a clean end, with nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile
from exam_strategies import scan

from octcube_core.exam import OCTVolume
from octcube_core.writers import write_exam

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no signals of this kind")


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_while_jpeg_2000_is_encoded(tmp_path, times):
    voxels = np.random.default_rng(0).integers(0, 256, (90, 400, 512), dtype=np.uint8)
    np.save(tmp_path / "in.npy", voxels)
    out = tmp_path / "to"
    out.mkdir()
    command = [sys.executable, "-m", "octcube_core.cli", "export", str(tmp_path / "in.npy")]
    command += ["--to", "dicom", "--transfer-syntax", "jpeg2000", "--out", str(out / "exam")]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    end = time.monotonic() + 60
    while not list(out.iterdir()) and time.monotonic() < end:
        time.sleep(0.01)
    assert process.poll() is None
    time.sleep(0.3)
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    told = process.communicate(timeout=60)
    # A second one may reach an interpreter that has ended its work and only frees its memory.
    assert process.returncode in ((130,) if times == 1 else (130, -signal.SIGINT))
    assert told == (b"", b"")
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("to", ["dicom", "ome-tiff"])
def test_a_second_ctrl_c_does_not_stop_the_clean_up(tmp_path, to, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    def once_more(function):
        def wrapped(*arguments, **options):
            os.kill(os.getpid(), signal.SIGINT)
            return function(*arguments, **options)

        return wrapped

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr("octcube_core.writers.dicom_pixels._encoded", interrupted)
    monkeypatch.setattr(tifffile.TiffWriter, "write", interrupted)
    monkeypatch.setattr("shutil.rmtree", once_more(shutil.rmtree))
    monkeypatch.setattr("pathlib.Path.unlink", once_more(type(tmp_path).unlink))
    options = {"transfer_syntax": "jpeg2000"} if to == "dicom" else {}
    with pytest.raises(KeyboardInterrupt):
        write_exam(scan("raster"), tmp_path / "out.ome.tif", to, **options)
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGINT) is before


def test_compressed_frames_are_those_of_the_volume_in_order(tmp_path):
    exam = scan("raster")
    voxels = np.arange(6, dtype=np.uint8)[:, None, None] + exam.volume.voxels // 2
    exam = scan("raster", volume=OCTVolume(voxels, exam.volume.spacing_mm))
    assert write_exam(exam, tmp_path / "out", "dicom", transfer_syntax="jpeg2000") == ()
