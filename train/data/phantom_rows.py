"""Synthetic exams as rows of a store: what to make, and the arrays and labels that come of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from octcube_core.exam import Exam
from octcube_core.identity import patient_hash
from octcube_core.phantom import DISEASES, SyntheticExam, make_cohort, make_exam, make_visit
from octcube_core.phantom.organs import ORGANS, OrganExam
from octcube_core.preprocess import resize_volume

# Seeds are (purpose, seed, ...), so that no purpose ever meets another's eyes, nor the seeds that people type.
TRAINING_EYES = 0x0C7C_0001
BENCHMARK_EYES = 0x0C7C_0002
KINDS = ("eyes", "ga", *ORGANS)
EN_FACE = ("IR", "FAF")
# Every style's scan is brought to as many B-scans, as the preparation for models of several devices does.
SHAPE = (60, 256, 256)
SALT_OF_NOBODY = (
    "synthetic"  # synthetic patients have no identity to protect, and stores must come out the same
)


@dataclass(frozen=True)
class Request:
    """What a store of synthetic exams shall hold.

    Attributes
    ----------
    kind : one of ``KINDS``
    count : number of patients of a cohort, or of single exams
    cohort : whether patients have two eyes and several visits
    volume_shape : (frames, height, width) to store
    image_shape : (rows, columns) to store en-face images at
    seed : number
    purpose : ``TRAINING_EYES`` or ``BENCHMARK_EYES``
    difficulty : of the eyes
    """

    kind: str
    count: int
    cohort: bool
    volume_shape: tuple[int, int, int]
    image_shape: tuple[int, int] = (256, 256)
    seed: int = 0
    purpose: int = TRAINING_EYES
    difficulty: float = 1.0

    @property
    def modalities(self) -> tuple[str, ...]:
        """The en-face modalities that its exams may have."""
        return () if self.kind in ORGANS else EN_FACE


@dataclass(frozen=True)
class Job:
    """One exam to make: small and picklable."""

    make: Callable[[], SyntheticExam | OrganExam]
    patient: str
    device: str


def jobs_of(request: Request) -> list[Job]:
    """The exams of a store, in its order."""
    seed = request.purpose, request.seed

    def name(number: int) -> str:
        return f"{request.purpose:x}-{request.kind}-{request.seed}-{number}"

    if request.kind in ORGANS:
        make = ORGANS[request.kind]
        return [
            Job(partial(make, (*seed, number)), name(number), request.kind)
            for number in range(request.count)
        ]
    if request.kind == "eyes" and not request.cohort:
        eye = partial(make_exam, misalignment=1.0, difficulty=request.difficulty)
        return [
            Job(partial(eye, (*seed, number)), name(number), "spectralis")
            for number in range(request.count)
        ]
    single: Mapping[str, Any] = {} if request.cohort else {"eyes": 1, "visits": (1, 1)}
    plans = make_cohort(
        (*seed, KINDS.index(request.kind)),
        request.count,
        kind=request.kind,
        shape=SHAPE,
        difficulty=request.difficulty,
        **single,
    )
    return [
        Job(partial(make_visit, plan), name(plan.patient), plan.setting.style) for plan in plans
    ]


def row_of(job: Job, exam: SyntheticExam | OrganExam) -> dict[str, Any]:
    """The manifest's row of an exam, but for its split."""
    spacing = [np.nan if mm is None else mm for mm in exam.volume.spacing_mm]
    names = "spacing_z_mm", "spacing_y_mm", "spacing_x_mm"
    eye = f"{job.patient} {exam.laterality}"
    return {
        "eye": patient_hash(eye, SALT_OF_NOBODY),
        "patient": patient_hash(job.patient, SALT_OF_NOBODY),
        "visit": exam.truth.visit if isinstance(exam, SyntheticExam) else 1,
        "laterality": exam.laterality,
        "device": job.device,
        "modalities": list(exam.modalities),
        **dict(zip(names, spacing, strict=True)),
        **labels_of(exam),
    }


def labels_of(exam: SyntheticExam | OrganExam) -> dict[str, float]:
    """Everything that is known of an exam, as numbers; NaN where there is nothing to know."""
    if isinstance(exam, OrganExam):
        return dict(exam.labels)
    truth = exam.truth
    return {
        **dict(zip(DISEASES, truth.labels.astype(int).tolist(), strict=True)),
        **{name: int(present) for name, present in truth.systemic.items()},
        "ga_area": truth.ga_area_mm2,
        "ga_growth": np.nan if truth.ga_growth is None else truth.ga_growth,
        "bcva": np.nan if truth.bcva is None else truth.bcva,
        "years": truth.years,
    }


def pictures_of(
    exam: Exam, request: Request
) -> tuple[NDArray[np.uint8], dict[str, NDArray[np.uint8]]]:
    """Volume and en-face images of an exam at the sizes to store; a missing image is black."""
    volume = np.rint(resize_volume(exam.volume, request.volume_shape).numpy() * 255)
    rows, columns = request.image_shape
    images = {name: np.zeros((rows, columns), np.uint8) for name in request.modalities}
    for image in exam.enface:
        picture = Image.fromarray(image.pixels)
        images[image.modality] = np.asarray(
            picture.resize((columns, rows), Image.Resampling.BILINEAR)
        )
    return volume.astype(np.uint8), images


def lesion_bits(exam: SyntheticExam | OrganExam, size: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Lesion masks as bits at another size; a voxel that holds any of a lesion belongs to it, so none gets lost."""
    bits = np.zeros(exam.volume.shape, np.uint8)
    masks = exam.masks if isinstance(exam, OrganExam) else exam.truth.masks
    known = tuple(masks) if isinstance(exam, OrganExam) else DISEASES
    for name, mask in masks.items():
        bits |= mask.astype(np.uint8) << known.index(name)
    for axis, (new, old) in enumerate(zip(size, exam.volume.shape, strict=True)):
        bits = np.bitwise_or.reduceat(bits, np.arange(new) * old // new, axis=axis)
    return bits
