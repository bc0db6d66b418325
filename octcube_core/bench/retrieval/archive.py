"""Synthetic archives of embeddings: patients with two eyes and visits, near each other as those of a model are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from octcube_core.exam import Laterality
from octcube_core.results import ModelIdentity
from octcube_core.retrieval.records import Identity, IndexedExam

FEATURES = 512
MODALITY = "OCT"
MODEL = ModelIdentity("bench", "0" * 64, FEATURES, "bench")
PICTURE = 3000  # bytes of a thumbnail
_PLACE = 120  # bytes of an encrypted path

EYES, VISITS, DEVICES, LABELS = 2, 3, 3, 5
PER_PATIENT = EYES * VISITS
BLOCK = 1000 * PER_PATIENT  # items that are made together: whole patients

# How much eyes differ, in a space of few dimensions that matter less and less.
DIMENSIONS = 32
_EYE, _VISIT, _NOISE, _MEAN = 0.4, 0.15, 0.1, 0.5
_SEED = 0x0C7C_0006

Kind = Literal["eye-like", "gaussian"]


@dataclass(frozen=True)
class Archive:
    """So many items, the same every time.

    Attributes
    ----------
    items : int
    kind : 'eye-like' or 'gaussian'
        Eye-like embeddings vary in 32 dimensions, less and less, with noise in all, and those of a patient lie near
        each other. Gaussian ones are as far from each other as can be, which is hard for a graph and unlike what a
        model makes.
    with_pictures : bool
        Whether each has a thumbnail.
    """

    items: int
    kind: Kind
    with_pictures: bool = True

    def blocks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """(number of the first item, vectors) of at most ``BLOCK`` items each."""
        for first in range(0, self.items, BLOCK):
            yield first, self._block(first // BLOCK)[: self.items - first]

    def records(self, first: int, vectors: NDArray[np.float32]) -> list[IndexedExam]:
        """What goes into the index of a block."""
        generator = np.random.default_rng((_SEED, 1, first))
        return [
            IndexedExam(
                identity(number),
                {MODALITY: vector},
                f"device {number // PER_PATIENT % DEVICES}",
                (f"label {number // EYES % LABELS}",),
                {},
                {MODALITY: generator.bytes(PICTURE)} if self.with_pictures else {},
                number.to_bytes(_PLACE, "big"),
                f"{number:032x}",
            )
            for number, vector in enumerate(vectors, first)
        ]

    def first_block(self) -> NDArray[np.float32]:
        """Vectors from which queries are taken."""
        return self._block(0)[: self.items]

    def _block(self, number: int) -> NDArray[np.float32]:
        def normal(*shape: int) -> NDArray[np.float32]:
            return generator.standard_normal(shape, np.float32)

        generator = np.random.default_rng((_SEED, 0))
        if self.kind == "gaussian":
            generator = np.random.default_rng((_SEED, 0, number))
            return normal(BLOCK, FEATURES)
        spread = 1 / np.sqrt(np.arange(1, DIMENSIONS + 1, dtype=np.float32))
        into = normal(DIMENSIONS, FEATURES) * (spread / np.linalg.norm(spread))[:, None]
        mean = normal(FEATURES) * np.float32(_MEAN)
        generator = np.random.default_rng((_SEED, 0, number))
        patients = BLOCK // PER_PATIENT
        inner = normal(patients, 1, 1, DIMENSIONS)
        inner = inner + np.float32(_EYE) * normal(patients, 1, EYES, DIMENSIONS)
        inner = inner + np.float32(_VISIT) * normal(patients, VISITS, EYES, DIMENSIONS)
        vectors = inner.reshape(BLOCK, DIMENSIONS) @ into + mean
        vectors += np.float32(_NOISE) * normal(BLOCK, FEATURES)
        return vectors


def identity(number: int) -> Identity:
    """Whose an item is: of each patient, each visit's right and left eye."""
    patient, within = divmod(number, PER_PATIENT)
    visit, eye = divmod(within, EYES)
    sides: tuple[Laterality, Laterality] = ("OD", "OS")
    return Identity(f"{number:032x}", f"{patient:064x}", sides[eye], 20_000 + 180 * visit)
