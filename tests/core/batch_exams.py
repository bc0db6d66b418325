"""Exams on disk and small models, for the tests of what analyses many of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from heyex_files import e2e_bytes, e2e_items, patient_item, random_codes, raster

from octcube_core.batch import run as batch_run
from octcube_core.checkpoints import save_checkpoint
from octcube_core.exam import Exam, Patient
from octcube_core.models.random_weights import random_model
from octcube_core.phantom import make_exam
from octcube_core.writers import write_exam

PATIENT = Patient(
    name="Zebedee^Quagga", id="PID-993311", birth_date="19431127", exam_date="20240229"
)
SHAPE = (12, 32, 48)  # of a model's input


def classifier():
    """A small classifier of eight diseases; always the same."""
    return random_model(2, 64, 2, SHAPE, final_residual=True).eval()


def classifier_file(folder: Path) -> Path:
    file = folder / "classifier.safetensors"
    save_checkpoint(file, classifier())
    return file


def eye(seed: int = 1) -> Exam:
    """A synthetic eye with an infrared image, of a patient who must not show up anywhere."""
    return dataclasses.replace(make_exam(seed, shape=(6, 64, 48)), patient=PATIENT)


def mixed_folder(folder: Path) -> Path:
    """A DICOM exam of a known patient, a file of two exams, an array, and two that cannot be analysed."""
    write_exam(eye(), folder / "a dicom", "dicom", keep_identity=True)
    items = [patient_item()]
    for series, side in ((1, "OD"), (2, "OS")):
        scan = raster(bscans=4, eye=side)
        items += e2e_items(scan, series, random_codes((4, 24, 40), series))
    (folder / "b.E2E").write_bytes(e2e_bytes(items))
    np.save(folder / "c.npy", eye(2).volume.voxels)
    (folder / "d.npy").write_bytes((folder / "c.npy").read_bytes()[:-9])
    holes = np.full((4, 32, 32), 0.5, np.float32)
    holes[1] = np.nan
    np.save(folder / "e.npy", holes)
    return folder


def read_in_this_process(monkeypatch) -> list[int]:
    """Have ``analyze_table`` start no processes; gives a list of the numbers of the exams that are read."""
    read: list[int] = []

    class Pool:
        def __init__(self, function, workers, start, arguments, lost):
            start(*arguments)
            self._function = function

        def results(self, numbers):
            for number in numbers:
                ready = self._function(number)
                read.append(number)
                yield number, ready

    monkeypatch.setattr(batch_run, "OrderedPool", Pool)
    monkeypatch.setattr(batch_run.prepared.signal, "signal", lambda *_: None)
    monkeypatch.setattr(batch_run.prepared.torch, "set_num_threads", lambda _: None)
    return read


def arrays(folder: Path, count: int) -> Path:
    """So many small exams."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        rng = np.random.default_rng(number)
        np.save(folder / f"{number}.npy", rng.integers(0, 255, (4, 24, 32), np.uint8))
    return folder
