"""What makes one healthy eye differ from another: the numbers that OCT, IR and FAF all show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

EXTREME = 2.5  # standard deviations beyond which no eye lies


def _varies(mean: float, deviation: float) -> Any:
    return field(metadata={"mean": mean, "deviation": deviation})


@dataclass(frozen=True)
class Anatomy:
    """An eye's individual measures: millimetres en face, micrometres in depth, factors without a unit.

    Positions are relative to the fovea, towards the disc and downwards. Each measure is normally distributed over
    eyes; ``sample`` says how fellow eyes and illnesses of the body correlate with it.
    """

    disc_distance: float = _varies(4.05, 0.22)
    disc_height: float = _varies(-0.28, 0.28)
    disc_radius: float = _varies(0.85, 0.09)
    disc_ovality: float = _varies(1.1, 0.07)
    superior_arcade: float = _varies(2.2, 0.42)
    inferior_arcade: float = _varies(2.2, 0.42)
    arcade_opening: float = _varies(1.0, 0.22)
    arcade_closing: float = _varies(0.9, 0.5)
    artery_calibre: float = _varies(0.11, 0.018)
    vein_calibre: float = _varies(0.155, 0.02)
    tortuosity: float = _varies(1.0, 0.35)
    branches: float = _varies(4.5, 1.2)
    avascular_radius: float = _varies(0.62, 0.13)
    cilioretinal: float = _varies(0.0, 1.0)
    pit_width: float = _varies(0.38, 0.07)
    ring_radius: float = _varies(1.05, 0.12)
    ring_height: float = _varies(1.0, 0.15)
    retina: float = _varies(1.0, 0.06)
    rnfl: float = _varies(1.0, 0.10)
    gcl: float = _varies(1.0, 0.08)
    ipl: float = _varies(1.0, 0.08)
    inl: float = _varies(1.0, 0.08)
    opl: float = _varies(1.0, 0.08)
    onl: float = _varies(1.0, 0.08)
    elm: float = _varies(1.0, 0.08)
    inner_segments: float = _varies(1.0, 0.08)
    ellipsoid: float = _varies(1.0, 0.08)
    outer_segments: float = _varies(1.0, 0.08)
    rpe: float = _varies(1.0, 0.08)
    choroid: float = _varies(160.0, 38.0)
    curvature: float = _varies(9.0, 3.2)
    macular_pigment: float = _varies(0.55, 0.10)
    macular_pigment_radius: float = _varies(0.75, 0.12)
    fundus_pigment: float = _varies(0.0, 1.0)

    @classmethod
    def sample(
        cls,
        rng: np.random.Generator,
        fellow: NDArray[np.float64] | None = None,
        correlation: float = 0.0,
        shifts: Mapping[str, float] | None = None,
    ) -> Anatomy:
        """Draw an eye.

        Parameters
        ----------
        rng : numpy Generator
        fellow : float array, shape (measures,), optional
            Standard normal deviates that a patient's two eyes share.
        correlation : float in 0..1
            Of the two eyes of a patient.
        shifts : mapping of measure to standard deviations, optional
            What illnesses of the body add.
        """
        deviates = rng.standard_normal(len(fields(cls)))
        if fellow is not None:
            deviates = np.sqrt(correlation) * fellow + np.sqrt(1 - correlation) * deviates
        values = {}
        for measure, deviate in zip(fields(cls), deviates, strict=True):
            shifted = deviate + (shifts or {}).get(measure.name, 0.0)
            within = float(np.clip(shifted, -EXTREME, EXTREME))
            values[measure.name] = measure.metadata["mean"] + measure.metadata["deviation"] * within
        return cls(**values)

    def deviate(self, measure: str) -> float:
        """How many standard deviations a measure lies above the mean of all eyes."""
        for known in fields(self):
            if known.name == measure:
                above = float(getattr(self, measure)) - float(known.metadata["mean"])
                return above / float(known.metadata["deviation"])
        raise KeyError(measure)
