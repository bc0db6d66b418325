"""What a reading process makes of an exam: what the model looks at, and what is known of the exam."""

from __future__ import annotations

import pickle
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from numpy.typing import NDArray

from octcube_core.batch.columns import exam_facts
from octcube_core.checkpoints.card import ModelCard
from octcube_core.errors import OCTCubeError
from octcube_core.model_warnings import model_warnings
from octcube_core.objectives import tower_inputs
from octcube_core.ordered_pool import LOST
from octcube_core.readers import ExamEntry
from octcube_core.token_grid import PatchGrid, TokenGrid

# As ``objectives.TowerInputs``, but arrays: tensors would go from process to process through shared memory, of which a
# container may have little.
ArrayInputs = Mapping[str, tuple[NDArray[Any], TokenGrid | PatchGrid]]


@dataclass(frozen=True, eq=False)
class Prepared:
    """One exam, ready for the model, or the sentence that says why it is not.

    ``facts`` are by column, as far as they could be told.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    inputs: ArrayInputs = field(default_factory=dict)
    error: str = ""


def lost(_number: int) -> Prepared:
    """The result of a process that died."""
    return Prepared(error=LOST)


def start(entries: bytes, card: str, with_patient: bool) -> None:
    """Begin a reading process; ``entries`` is a pickled sequence of ``ExamEntry``."""
    global _reader
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that writes
    torch.set_num_threads(1)
    _reader = _Reader(pickle.loads(entries), ModelCard.from_json(card), with_patient)


def prepare(number: int) -> Prepared:
    """The exam of a number."""
    assert _reader is not None
    return _reader.prepare(number)


class _Reader:
    """The state of a reading process."""

    def __init__(self, entries: Sequence[ExamEntry], card: ModelCard, with_patient: bool) -> None:
        self._entries = entries
        self._card = card
        self._with_patient = with_patient

    def prepare(self, number: int) -> Prepared:
        facts: dict[str, Any] = {}
        begin = time.perf_counter()
        try:
            exam = self._entries[number].read()
            facts |= exam_facts(exam, self._with_patient)
            facts["warnings"] = " ".join(exam.warnings + model_warnings(exam, self._card))
            inputs = {
                modality: (values.numpy(), grid)
                for modality, (values, grid) in tower_inputs(exam, self._card).items()
            }
            facts["reading_seconds"] = time.perf_counter() - begin
        except OCTCubeError as error:
            return Prepared(facts, error=str(error))
        except Exception as error:  # a bad exam never stops the others; its text may quote the file
            kind = type(error).__name__
            return Prepared(facts, error=f"It cannot be read ({kind}); export or copy it again.")
        return Prepared(facts, inputs)


_reader: _Reader | None = None
