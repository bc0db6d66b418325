"""Illnesses of the whole body and the weak signs that they leave in both eyes.

The directions follow what retinal imaging studies report (narrow arterioles in hypertension, a thin choroid in heart
failure, thin nerve fibres in dementia, ...); the strengths are chosen so that an ideal observer of the measures tells a
condition's patients from others with an AUROC between 0.7 and 0.85, and a good model of the images with less.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Condition:
    """An illness of the body.

    Attributes
    ----------
    name, icd10 : what it is; a level-1 code of ICD-10
    prevalence : share of patients, but for what other conditions add
    signs : measure of the anatomy to the standard deviations by which it is shifted in both eyes
    risks : disease of the eye to what is added to its liability, in standard deviations
    """

    name: str
    icd10: str
    prevalence: float
    signs: Mapping[str, float]
    risks: Mapping[str, float] = field(default_factory=dict)


CONDITIONS = (
    Condition(
        "diabetes",
        "E11",
        0.30,
        {"vein_calibre": 0.8, "gcl": -0.5},
        {"DME": 0.6, "DR": 0.6, "RNV": 0.4},
    ),
    Condition(
        "hypertension",
        "I10",
        0.40,
        {"artery_calibre": -1.0, "arcade_opening": -0.3},
        {"CRAO/CRVO": 0.3},
    ),
    Condition("hyperlipidemia", "E78", 0.35, {"macular_pigment": -0.8, "vein_calibre": 0.4}),
    Condition("kidney_disease", "N18", 0.20, {"choroid": -0.8, "branches": -0.7}),
    Condition("heart_failure", "I50", 0.15, {"choroid": -1.0, "vein_calibre": 0.5}),
    Condition(
        "stroke", "I63", 0.15, {"tortuosity": 1.0, "artery_calibre": -0.5}, {"CRAO/CRVO": 0.3}
    ),
    Condition("sleep_apnea", "G47", 0.20, {"tortuosity": 0.9, "rnfl": -0.4}, {"POAG": 0.3}),
    Condition("dementia", "G30", 0.15, {"rnfl": -1.0, "gcl": -0.8}),
)


def sample_conditions(rng: np.random.Generator) -> dict[str, bool]:
    """Which conditions a patient has, each independently of the others."""
    return {known.name: bool(rng.random() < known.prevalence) for known in CONDITIONS}


def shifts_of(conditions: Mapping[str, bool]) -> dict[str, float]:
    """What a patient's conditions add to the measures of both eyes, in standard deviations."""
    return _sum(known.signs for known in CONDITIONS if conditions.get(known.name))


def risks_of(conditions: Mapping[str, bool]) -> dict[str, float]:
    """What a patient's conditions add to the liability to diseases of the eye, in standard deviations."""
    return _sum(known.risks for known in CONDITIONS if conditions.get(known.name))


def mean_risk(disease: str) -> float:
    """What all patients' conditions add on average to the liability to a disease of the eye."""
    return sum(known.prevalence * known.risks.get(disease, 0.0) for known in CONDITIONS)


def _sum(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, 0.0) + value
    return total
