"""Patients with two eyes and several visits over years: cheap plans first, each made into an exam when it is needed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

from octcube_core.errors import InputError
from octcube_core.exam import Laterality
from octcube_core.phantom.anatomy import Anatomy
from octcube_core.phantom.atrophy import Atrophy
from octcube_core.phantom.device import STYLES
from octcube_core.phantom.eye import (
    BENCHMARK_DIFFICULTY,
    DISEASES,
    PREVALENCE,
    Eye,
    Setting,
    SyntheticExam,
    examine,
)
from octcube_core.phantom.systemic import mean_risk, risks_of, sample_conditions, shifts_of

Kind = Literal["eyes", "ga"]

FELLOW_EYES = 0.7  # correlation of a patient's two eyes: of their measures
FELLOW_DISEASES = 0.5  # and of their liability to a disease
NEW_DISEASE = 0.06  # chance that a disease of an eye came only after the first visit
_PATIENT, _VISIT = 0, 1  # what a seed is for


@dataclass(frozen=True)
class VisitPlan:
    """One visit of one eye: small, picklable, and all that ``make_visit`` needs.

    Attributes
    ----------
    patient : number of the patient, from 0
    laterality : which eye
    visit : number of the visit, from 1
    years : since the first visit
    kind : 'eyes' with any of the eight diseases, 'ga' with geographic atrophy
    systemic : conditions of the patient
    severities : each disease that the eye has by now, and how strong its marks are
    setting : how the exam is made
    seed : of the cohort
    """

    patient: int
    laterality: Laterality
    visit: int
    years: float
    kind: Kind
    systemic: Mapping[str, bool]
    severities: Mapping[str, float]
    setting: Setting
    seed: tuple[int, ...] = field(repr=False)


def make_cohort(
    seed: int | Sequence[int],
    patients: int,
    *,
    kind: Kind = "eyes",
    eyes: int = 2,
    visits: tuple[int, int] = (1, 3),
    styles: Mapping[str, float] | None = None,
    missing: Mapping[str, float] | None = None,
    shape: tuple[int, int, int] | None = None,
    difficulty: float = BENCHMARK_DIFFICULTY,
    misalignment: float = 1.0,
) -> list[VisitPlan]:
    """Plan the visits of a cohort; a patient's plans do not depend on how many others there are.

    Parameters
    ----------
    seed : int or sequence of int
    patients : int
    kind : 'eyes' or 'ga'
        Eyes with the eight diseases, each with a prevalence of about 0.25 and correlated between fellow eyes; or eyes
        with geographic atrophy that grows from visit to visit.
    eyes : 1 or 2
        Of each patient; a single one is the right or the left by chance.
    visits : (least, most)
        Number of visits, about a year apart; both eyes are seen at each.
    styles : mapping of device style to weight, optional
        By default six in ten visits are 'spectralis', the others 'cirrus' or 'maestro2'.
    missing : mapping of 'IR' or 'FAF' to the share of exams without it, optional
        By default 0.05 and 0.15; none for 'ga'.
    shape : (bscans, depth, width), optional
        Of every volume; by default each style's own.
    difficulty, misalignment : float
        As in ``make_exam``.

    Raises
    ------
    InputError
        For no patient, an unknown kind, style or modality, or impossible numbers of eyes and visits.
    """
    if patients < 1 or eyes not in (1, 2) or not 1 <= visits[0] <= visits[1]:
        raise InputError("A cohort needs patients with one or two eyes and at least one visit.")
    if kind not in ("eyes", "ga"):
        raise InputError(f"Unknown kind of cohort {kind!r}; known are eyes, ga.")
    weights = styles or {"spectralis": 0.6, "cirrus": 0.2, "maestro2": 0.2}
    default = {} if kind == "ga" else {"IR": 0.05, "FAF": 0.15}
    lacking = default if missing is None else missing
    for name, known in (*((s, STYLES) for s in weights), *((m, ("IR", "FAF")) for m in lacking)):
        if name not in known:
            raise InputError(f"A cohort knows no {name!r} here; known are {', '.join(known)}.")
    base = (seed,) if isinstance(seed, int) else tuple(seed)
    planner = _Planner(base, kind, eyes, visits, weights, lacking, shape, difficulty, misalignment)
    return [plan for number in range(patients) for plan in planner.patient(number)]


def make_visit(plan: VisitPlan) -> SyntheticExam:
    """Make the exam of a plan; the same plan gives the same exam, voxel for voxel."""
    shared = _stream(plan.seed, _PATIENT, plan.patient, 0).standard_normal(len(fields(Anatomy)))
    side = 1 if plan.laterality == "OD" else 2
    own = _stream(plan.seed, _PATIENT, plan.patient, side)
    measures, tissue, pathology, atrophied = own.spawn(4)
    anatomy = Anatomy.sample(measures, shared, FELLOW_EYES, shifts_of(plan.systemic))
    atrophy = Atrophy.sample(atrophied, anatomy) if plan.kind == "ga" else None
    eye = Eye(anatomy, plan.laterality, tissue, pathology, plan.severities, atrophy)
    visit = _stream(plan.seed, _VISIT, plan.patient, side, plan.visit)
    return examine(
        eye, visit, plan.setting, number=plan.visit, years=plan.years, systemic=plan.systemic
    )


def make_ga_eye(seed: int | Sequence[int], *, misalignment: float = 1.0) -> SyntheticExam:
    """Make one eye with geographic atrophy; a cohort of kind 'ga' has more choices."""
    (plan,) = make_cohort(
        seed,
        1,
        kind="ga",
        eyes=1,
        visits=(1, 1),
        styles={"spectralis": 1},
        misalignment=misalignment,
    )
    return make_visit(plan)


def _stream(seed: tuple[int, ...], *place: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=place))


@dataclass(frozen=True)
class _Planner:
    seed: tuple[int, ...]
    kind: Kind
    eyes: int
    visits: tuple[int, int]
    styles: Mapping[str, float]
    missing: Mapping[str, float]
    shape: tuple[int, int, int] | None
    difficulty: float
    misalignment: float

    def patient(self, number: int) -> Iterable[VisitPlan]:
        rng = _stream(self.seed, _PATIENT, number, 3)
        systemic = sample_conditions(rng)
        first: Laterality = "OD" if rng.random() < 0.5 else "OS"
        count = int(rng.integers(self.visits[0], self.visits[1] + 1))
        years = np.concatenate([[0.0], np.cumsum(rng.uniform(0.6, 1.6, count - 1))]).round(2)
        liability = rng.standard_normal(len(DISEASES))
        sides: tuple[Laterality, ...] = ("OD", "OS") if self.eyes == 2 else (first,)
        courses = {side: self._course(rng, liability, systemic) for side in ("OD", "OS")}
        for visit, since in enumerate(years.tolist(), 1):
            style = str(rng.choice(list(self.styles), p=_normalised(self.styles)))
            for side in sides:
                yield VisitPlan(
                    number,
                    side,
                    visit,
                    since,
                    self.kind,
                    systemic,
                    courses[side].after(since),
                    self._setting(rng, style),
                    self.seed,
                )

    def _course(
        self,
        rng: np.random.Generator,
        shared: NDArray[np.float64],
        systemic: Mapping[str, bool],
    ) -> _Course:
        """An eye's diseases: those to which its liability, in part its fellow's, exceeds a threshold."""
        own, late, onset = rng.standard_normal(len(DISEASES)), *rng.random((2, len(DISEASES)))
        pace = rng.uniform(0.0, 0.15, len(DISEASES))
        if self.kind == "ga":
            return _Course({"AMD": 0.0}, {"AMD": 0.0})
        liability = np.sqrt(FELLOW_DISEASES) * shared + np.sqrt(1 - FELLOW_DISEASES) * own
        risks = risks_of(systemic)
        threshold = float(special.ndtri(1 - PREVALENCE))
        since, paces = {}, {}
        for column, name in enumerate(DISEASES):
            # The mean risk of all patients is taken off again, so that the prevalence stays.
            risk = risks.get(name, 0.0) - mean_risk(name)
            if liability[column] + risk > threshold:
                since[name] = 2 * float(onset[column]) if late[column] < NEW_DISEASE else 0.0
                paces[name] = float(pace[column])
        return _Course(since, paces)

    def _setting(self, rng: np.random.Generator, style: str) -> Setting:
        present = ["OCT", *(m for m in ("IR", "FAF") if rng.random() >= self.missing.get(m, 0.0))]
        return Setting(
            shape=self.shape,
            style=style,
            difficulty=self.difficulty,
            misalignment=self.misalignment,
            modalities=tuple(present),
        )


@dataclass(frozen=True)
class _Course:
    """When each disease of an eye began, in years after the first visit, and how fast it gets worse."""

    since: Mapping[str, float]
    pace: Mapping[str, float]

    def after(self, years: float) -> dict[str, float]:
        """The diseases by then and how strong their marks are."""
        return {
            name: 1.0 + self.pace[name] * years
            for name, began in self.since.items()
            if began <= years
        }


def _normalised(weights: Mapping[str, float]) -> NDArray[np.float64]:
    values = np.array(list(weights.values()), float)
    return np.asarray(values / values.sum())
