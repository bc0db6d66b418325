"""The columns of a table of results, which follow from the model's card alone. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from octcube_core.checkpoints.card import ModelCard
from octcube_core.errors import InputError, printable
from octcube_core.exam import Exam
from octcube_core.readers import ExamEntry
from octcube_core.results import DISCLAIMER, DiseaseScore, Measurement

Row = dict[str, Any]  # a value or None for every column, in their order
Key = tuple[str, str]  # the path of an exam, and which exam of it

PROBABILITY, VALUE = "probability_", "value_"  # what the names of a model's columns begin with

_EXAM: dict[str, type] = {
    "path": str,
    "part": str,
    "format": str,
    "eye": str,
    "device": str,
    "scan_pattern": str,
    "modalities": str,
    "bscans": int,
    "depth": int,
    "width": int,
    "spacing_bscan_mm": float,
    "spacing_depth_mm": float,
    "spacing_width_mm": float,
    "bscan_locations_known": bool,
}
_PATIENT: dict[str, type] = {"patient_id": str, "exam_date": str}
_RUN: dict[str, type] = {
    "top_target": str,
    "key_bscan": int,
    "model": str,
    "model_hash": str,
    "fast": bool,
    "run_device": str,
    "precision": str,
    "seconds": float,
    "reading_seconds": float,
    "notes": str,
    "warnings": str,
    "error": str,
    "file_bytes": int,
    "file_modified_ns": int,
}


@dataclass(frozen=True)
class Columns:
    """Names and types of a table's columns.

    Attributes
    ----------
    types : mapping of str to type
        In the order of the table.
    about : mapping of str to mapping
        Full name, and threshold and ICD-10 codes or unit, of each column that a model adds.
    """

    types: Mapping[str, type]
    about: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, card: ModelCard, with_patient: bool = False) -> Columns:
        """The columns of a model's results; InputError if it gives none but an embedding."""
        diseases = {
            f"{PROBABILITY}{label.abbreviation}": {
                "name": label.name,
                "icd10": list(label.icd10),
                "threshold": label.threshold,
            }
            for label in card.labels
        }
        alike = card.alignment.modalities if card.alignment is not None else ()
        values = {f"{VALUE}OCT~{name}": _similarity(name) for name in alike}
        values |= {
            _value_column(target.abbreviation, target.unit): {
                "name": target.name,
                "unit": target.unit,
            }
            for target in card.targets
        }
        if not (diseases or values):
            raise InputError(
                f"{card.name} gives no scores for a table; choose a model of diseases, of values or an aligned one."
            )
        types = dict(_EXAM)
        if with_patient:
            types |= _PATIENT
        types |= dict.fromkeys(diseases, float)
        types |= {"present": str, "normal_probability": float}
        types |= dict.fromkeys(values, float)
        return cls({**types, **_RUN}, {**diseases, **values})

    def row(self, facts: Mapping[str, Any]) -> Row:
        """A whole row; what is not known is None, and so is an empty text, as CSV cannot tell them apart."""
        return {name: None if facts.get(name) == "" else facts.get(name) for name in self.types}


def entry_facts(entry: ExamEntry) -> dict[str, Any]:
    """What is known of an exam before it is read."""
    bscans, depth, width = entry.shape or (None, None, None)
    return {
        "path": path_text(str(entry.path.resolve())),
        "part": path_text(entry.part),
        "format": entry.format or None,
        "eye": entry.laterality,
        "device": _text(entry.device),
        "scan_pattern": entry.scan_pattern,
        "modalities": " ".join(entry.modalities) or None,
        "bscans": bscans,
        "depth": depth,
        "width": width,
    }


def exam_facts(exam: Exam, with_patient: bool) -> dict[str, Any]:
    """What is known of an exam that was read, of the patient only if asked."""
    bscans, depth, width = exam.volume.shape
    between, axial, lateral = exam.volume.spacing_mm
    facts = {
        "format": exam.format,
        "eye": exam.laterality,
        "device": _text(exam.device),
        "scan_pattern": exam.scan_pattern,
        "modalities": " ".join(exam.modalities),
        "bscans": bscans,
        "depth": depth,
        "width": width,
        "spacing_bscan_mm": between,
        "spacing_depth_mm": axial,
        "spacing_width_mm": lateral,
        "bscan_locations_known": exam.locations is not None,
    }
    if with_patient:
        facts["patient_id"] = _text(exam.patient.id)
        facts["exam_date"] = _text(exam.patient.exam_date)
    return facts


def key_of(row: Mapping[str, Any]) -> Key:
    """Which exam a row is of."""
    return row["path"], row["part"] or ""


def score_facts(
    scores: tuple[DiseaseScore, ...], measurements: tuple[Measurement, ...]
) -> dict[str, Any]:
    """What a model says, by column."""
    facts: dict[str, Any] = {
        f"{PROBABILITY}{score.abbreviation}": float(score.probability) for score in scores
    }
    if scores:
        facts["present"] = "; ".join(score.abbreviation for score in scores if score.present)
    for each in measurements:
        facts[_value_column(each.abbreviation, each.unit)] = float(each.value)
    return facts


def description(columns: Columns, model: str, model_hash: str) -> dict[str, Any]:
    """What a reader of the table should know, beside the table."""
    return {
        "disclaimer": DISCLAIMER,
        "model": model,
        "model_hash": model_hash,
        "columns": {name: dict(about) for name, about in columns.about.items()},
    }


def path_text(path: str) -> str:
    """A path as text of any encoding; a byte of a name that is no text becomes an escape."""
    return path.encode("utf-8", "backslashreplace").decode()


def _text(value: str | None) -> str | None:
    return None if value is None else printable(value)


def _value_column(abbreviation: str, unit: str) -> str:
    return f"{VALUE}{abbreviation} ({unit})" if unit else f"{VALUE}{abbreviation}"


def _similarity(modality: str) -> dict[str, Any]:
    return {"name": f"Similarity of OCT and {modality}", "unit": ""}
