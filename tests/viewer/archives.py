"""Small archives for the tab of similar eyes: files of real exams, embedded by the fake model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from fakes import make_embedding, make_exam

from octcube_core.exam import EnFaceImage, OCTVolume, Patient
from octcube_core.readers import read_exam
from octcube_core.retrieval import EmbeddingIndex
from octcube_core.writers import write_exam

LABELS = (("AMD",), ("AMD", "DME"), ("DME",), ())


def eye(brightness, patient="p", laterality="OD", shape=(6, 48, 64)):
    """An exam whose place among the others is its brightness."""
    exam = make_exam(shape, bright=(3, 20, 30))
    rng = np.random.default_rng(brightness)
    voxels = np.clip(exam.volume.voxels * 0 + brightness + rng.integers(0, 4, shape), 0, 255)
    volume = OCTVolume(voxels.astype(np.uint8), exam.volume.spacing_mm)
    pixels = rng.integers(0, 255, (32, 32), dtype=np.uint8)
    return replace(
        exam,
        volume=volume,
        enface=(EnFaceImage(pixels, "IR"),),
        laterality=laterality,
        patient=Patient(id=f"{patient}{brightness}", exam_date="20200101"),
    )


def make_archive(folder, brightnesses=(20, 60, 100, 140), model="demo-coep"):
    """An archive of one file per brightness; labels in turn, sides by turns."""
    address = str(Path(folder) / "eyes.octindex")
    with EmbeddingIndex(address) as index:
        for number, brightness in enumerate(brightnesses):
            path = Path(folder) / "exams" / str(brightness)
            path.parent.mkdir(exist_ok=True)
            side = "OD" if number % 2 == 0 else "OS"
            write_exam(eye(brightness, laterality=side), path, "dicom", keep_identity=True)
            exam = read_exam(path)
            index.add(exam, make_embedding(exam, model), labels=LABELS[number % 4])
    return address


def find_similar(qtbot, dock, exam=None):
    """Show an exam and press Find; return the tab once there is an answer."""
    state = dock.similar.state
    dock.scene.add_exam(exam or eye(95))
    qtbot.waitUntil(lambda: dock.session.exam is not None)
    dock.similar_tab.question.find_button.click()
    qtbot.waitUntil(lambda: state.found is not None, timeout=20_000)
    return dock.similar_tab


def choose(gallery, row):
    """Select a neighbour."""
    gallery.setCurrentIndex(gallery.model().index(row, 0))
