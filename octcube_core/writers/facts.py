"""What an exam knows beside its pixels, in the form of a folder's ``meta.json``; no identity, no file names."""

from __future__ import annotations

from typing import Any

from octcube_core.exam import Exam

SYNTHETIC = "synthetic"
SYNTHETIC_EYE = "Synthetic eye: computed, of no patient."


def exam_facts(exam: Exam) -> dict[str, Any]:
    """Everything but the en-face images, ready for JSON; null where unknown.

    ``locations.image`` is an index into the en-face images.
    """
    black, white = exam.volume.black_white
    facts: dict[str, Any] = {
        "spacing_mm": list(exam.volume.spacing_mm),
        "value_range": [black, white],
        "laterality": exam.laterality,
        "scan_pattern": exam.scan_pattern,
        "device": exam.device,
    }
    if exam.locations is not None:
        facts["locations"] = {
            "image": exam.locations.image,
            "polylines": [line.tolist() for line in exam.locations.polylines],
        }
    return facts


def is_synthetic(exam: Exam) -> bool:
    """Whether no patient is behind the exam, which every file made of it says."""
    return exam.format == SYNTHETIC
