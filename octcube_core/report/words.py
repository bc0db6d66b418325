"""An exam, its patient and a model in words that need no manual."""

from __future__ import annotations

from octcube_core.exam import Exam, Patient
from octcube_core.results import Analysis

Rows = tuple[tuple[str, str], ...]

UM_PER_MM = 1000.0
NOT_STATED = "not stated"
EYES = {"OD": "OD (right eye)", "OS": "OS (left eye)", None: "side unknown"}
SYNTHETIC_EYE = "Synthetic eye: computed, of no patient."
SYNTHETIC_MODEL = (
    "Synthetic model: trained on computed eyes; its scores say nothing about patients."
)
PATTERNS = {
    "raster": "raster (B-scans side by side)",
    "radial": "radial (B-scans through one point)",
    "circle": "circle",
    "line": "line",
    None: "pattern unknown",
}
LAYERS = {
    "norm1": "the last layer before its attention",
    "norm2": "the last layer after its attention",
}


def facts(exam: Exam) -> Rows:
    """What the exam is; nothing of the patient."""
    bscans, depth, width = exam.volume.shape
    images = ", ".join(image.modality for image in exam.enface)
    return (
        ("Device", exam.device or NOT_STATED),
        ("Scan pattern", PATTERNS[exam.scan_pattern]),
        ("B-scans", f"{bscans} of {width} × {depth} pixels"),
        ("Size", _size(exam)),
        ("Spacing", _spacing(exam)),
        ("Fundus images", images or "none"),
    )


def identity(patient: Patient) -> Rows:
    """Who and when; only for a report that was asked to say so."""
    return (
        ("Name", person_name(patient.name) or NOT_STATED),
        ("Patient ID", patient.id or NOT_STATED),
        ("Date of birth", patient.birth_date or NOT_STATED),
        ("Date of exam", patient.exam_date or NOT_STATED),
    )


def person_name(name: str | None) -> str:
    """A name as people write it, from DICOM's 'Family^Given^Middle^Prefix^Suffix=other script'."""
    groups = []
    for group in (name or "").split("="):
        family, *others = (part.strip() for part in group.split("^"))
        given = " ".join(part for part in others if part)
        groups.append(", ".join(part for part in (family, given) if part))
    return " · ".join(group for group in groups if group)


def model_lines(analysis: Analysis) -> tuple[str, ...]:
    """Which model it is, what it was trained on, and how its pictures came about."""
    card = analysis.card
    layer = LAYERS.get(analysis.layer, analysis.layer)
    return (
        f"Model: {card.title}. Trained on: {card.trained_on.rstrip('.')}.",
        f"Pictures: {analysis.method} at {layer}, scaled to the maximum of the volume. "
        f"Computed on: {analysis.device}.",
    )


def _size(exam: Exam) -> str:
    """Extents of a B-scan, and of the volume across them."""
    bscans, depth, width = exam.volume.shape
    between, axial, lateral = exam.volume.spacing_mm
    if axial is None or lateral is None:
        return "unknown, as the file states no spacing"
    text = f"{width * lateral:.1f} mm wide, {depth * axial:.1f} mm deep"
    if bscans > 1 and between is not None:
        text += f", {(bscans - 1) * between:.1f} mm across the B-scans"
    return text


def _spacing(exam: Exam) -> str:
    between, axial, lateral = (
        None if value is None else f"{value * UM_PER_MM:.3g} µm" for value in exam.volume.spacing_mm
    )
    if axial is lateral is between is None:
        return "unknown"
    parts = [f"{lateral or 'unknown'} in width", f"{axial or 'unknown'} in depth"]
    if exam.volume.shape[0] > 1 and exam.scan_pattern in ("raster", None):
        parts.append(f"{between or 'unknown'} between B-scans")
    return ", ".join(parts)
