"""What a reading process makes of an exam: the model's inputs, its thumbnails, and whose it is without saying who."""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from octcube_core.checkpoints.card import ModelCard
from octcube_core.embedding import embedding_inputs
from octcube_core.errors import InputError, OCTCubeError
from octcube_core.exam import Exam
from octcube_core.readers import ExamEntry
from octcube_core.retrieval.records import Identity, Location
from octcube_core.retrieval.secret import Secret
from octcube_core.retrieval.thumbnails import thumbnails

Key = tuple[Path, str]  # the file or folder, and which exam of it


@dataclass(frozen=True, eq=False)
class Prepared:
    """One exam, ready to be embedded.

    Attributes
    ----------
    inputs, scorer_inputs : by modality, as ``embedding_inputs``
        Arrays: tensors would go from process to process through shared memory, of which a container may have little.
    """

    location: Location
    identity: Identity
    inputs: Mapping[str, NDArray[np.float32]]
    scorer_inputs: Mapping[str, NDArray[np.float32]]
    thumbnails: Mapping[str, bytes]
    device: str | None


def key_of(entry: ExamEntry) -> Key:
    """Where an exam is and which one of there."""
    return entry.path.resolve(), entry.part


class _Reader:
    """The state of a reading process."""

    def __init__(
        self,
        sources: Sequence[Path],
        entries: Sequence[tuple[Key, ExamEntry]],
        cards: Sequence[ModelCard],
        secret: Secret,
        patient_folders: bool,
    ) -> None:
        self._entries = entries
        self._cards = cards
        self._secret = secret
        self._sources = sources if patient_folders else ()

    def prepare(self, number: int) -> Prepared | str:
        key, entry = self._entries[number]
        try:
            exam = self._with_patient(entry.read(), key[0])
            return Prepared(
                Location(*key),
                self._secret.identity(exam),
                _arrays(embedding_inputs(exam, self._cards[0])),
                self._scorer_inputs(exam),
                thumbnails(exam),
                exam.device,
            )
        except OCTCubeError as error:
            return str(error)
        except Exception as error:  # a bad exam never stops the others
            return f"It cannot be indexed ({type(error).__name__}); export or copy it again."

    def _scorer_inputs(self, exam: Exam) -> dict[str, NDArray[np.float32]]:
        try:
            return _arrays(embedding_inputs(exam, self._cards[1])) if self._cards[1:] else {}
        except InputError:
            return {}  # it can be found without scores

    def _with_patient(self, exam: Exam, path: Path) -> Exam:
        if exam.patient.id or exam.patient.name:
            return exam
        for source in self._sources:
            if path.is_relative_to(source):
                below = path.relative_to(source).parts
                if len(below) > 1:
                    return replace(exam, patient=replace(exam.patient, id=below[0]))
        return exam


_reader: _Reader | None = None


def start(
    sources: Sequence[Path],
    entries: bytes,
    cards: Sequence[str],
    salt: str,
    patient_folders: bool,
) -> None:
    """Begin a reading process; ``entries`` is a pickled sequence of keys with their ``ExamEntry``."""
    global _reader
    torch.set_num_threads(1)
    parsed = [ModelCard.from_json(card) for card in cards]
    _reader = _Reader(sources, pickle.loads(entries), parsed, Secret(salt), patient_folders)


def prepare(number: int) -> Prepared | str:
    """The exam of a number, or one sentence on why there is none."""
    assert _reader is not None
    return _reader.prepare(number)


def _arrays(inputs: Mapping[str, torch.Tensor]) -> dict[str, NDArray[np.float32]]:
    return {name: value.numpy() for name, value in inputs.items()}
