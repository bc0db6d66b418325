"""From folders of exams to an index: decoded in parallel, embedded by one model, added batch by batch.

What was added stays added, whatever becomes of the run; the next one goes on. An unchanged file is known again by its
stamp, without being read, and a moved or copied one by its content, without being embedded.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cloudpickle
import numpy as np
import torch
from numpy.typing import NDArray

from octcube_core.checkpoints.card import ModelCard
from octcube_core.embedding import embed_inputs, model_identity
from octcube_core.errors import InputError
from octcube_core.models.family import Model
from octcube_core.ordered_pool import LOST, OrderedPool
from octcube_core.results import ModelIdentity
from octcube_core.retrieval import prepared
from octcube_core.retrieval.fill_plan import (
    FillPlan,
    OnProgress,
    plan_filling,
    relabel,
    remove_gone,
)
from octcube_core.retrieval.index import EmbeddingIndex
from octcube_core.retrieval.known_places import KnownPlaces
from octcube_core.retrieval.label_table import LabelTable
from octcube_core.retrieval.prepared import Key, Prepared
from octcube_core.retrieval.records import IndexedExam
from octcube_core.retrieval.scoring import check_scorer, score_inputs
from octcube_core.worker_processes import available_cores

__all__ = ["FillPlan", "FillReport", "fill", "index_folder", "plan_filling"]

BATCH = 8  # exams that are embedded and added together
LONGEST_S = 5.0  # after which what is there is added, so that a kill loses little


@dataclass(eq=False)
class FillReport:
    """What was done.

    Attributes
    ----------
    added : exams that were not in the index
    known : exams that were, at that place or another
    relabelled : known exams of which the table of labels says something else
    removed : exams that were gone from their place (with ``sync``)
    failures : (name, one sentence) of exams that could not be read or embedded
    """

    added: int = 0
    known: int = 0
    relabelled: int = 0
    removed: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)


def index_folder(
    sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    index: EmbeddingIndex,
    model: Model,
    *,
    sync: bool = False,
    labels: LabelTable | None = None,
    scorer: Model | None = None,
    patient_folders: bool = False,
    workers: int | None = None,
    on_progress: OnProgress | None = None,
) -> FillReport:
    """Add all exams in files and folders to an index.

    Parameters
    ----------
    sources : one or several files or folders
    index : EmbeddingIndex
    model : Model
        Whose embeddings the index holds, or shall hold.
    sync : bool
        Remove the exams whose files were in a source and are no longer. Nothing is removed of a source that is
        missing or empty: perhaps a drive is not connected.
    labels : LabelTable, optional
        What is known of the eyes.
    scorer : Model, optional
        A classifier, whose probabilities are noted with each exam.
    patient_folders : bool
        Where an exam states no patient, the first folder below the source stands for one.
    workers : int, optional
        Processes that read; by default one for each core.
    on_progress : callable, optional
        Told what is being done and the fraction done; what it raises ends the run, and loses nothing that was added.

    Returns
    -------
    FillReport

    Raises
    ------
    EmbeddingIndexError
        If the index is another model's or cannot be written.
    """
    several = (sources,) if isinstance(sources, str | os.PathLike) else tuple(sources)
    plan = plan_filling([Path(source) for source in several], index, on_progress)
    return fill(
        plan,
        index,
        model,
        sync=sync,
        labels=labels,
        scorer=scorer,
        patient_folders=patient_folders,
        workers=workers,
        on_progress=on_progress,
    )


def fill(
    plan: FillPlan,
    index: EmbeddingIndex,
    model: Model | None,
    *,
    sync: bool = False,
    labels: LabelTable | None = None,
    scorer: Model | None = None,
    patient_folders: bool = False,
    workers: int | None = None,
    on_progress: OnProgress | None = None,
) -> FillReport:
    """Do what was planned; as ``index_folder``. ``model`` may be None if nothing is to be embedded."""
    report = FillReport(known=plan.known, failures=list(plan.failures))
    if plan.todo and model is not None:
        filling = _Filling(index, model, scorer, labels or LabelTable(), report)
        filling.run(plan, patient_folders, workers or available_cores(), on_progress)
    if sync:
        report.removed += remove_gone(plan, index)
    if labels is not None:
        report.relabelled = relabel(plan, index, labels)
    return report


class _Filling:
    """One run: prepared exams come in, batches of records go out."""

    def __init__(
        self,
        index: EmbeddingIndex,
        model: Model,
        scorer: Model | None,
        labels: LabelTable,
        report: FillReport,
    ) -> None:
        self._index = index
        self._model = model
        self._identity: ModelIdentity = model_identity(model)
        self._scorer = scorer
        self._labels = labels
        self._report = report
        self._waiting: list[Prepared] = []
        self._last = time.monotonic()
        index.check_model(self._identity)  # before anything is read
        if scorer is not None:
            check_scorer(scorer)

    def run(
        self, plan: FillPlan, patient_folders: bool, workers: int, on_progress: OnProgress | None
    ) -> None:
        secret = self._index.needed_secret()
        places = KnownPlaces(self._index)
        cards: list[ModelCard] = [self._model.card]
        if self._scorer is not None:
            cards.append(self._scorer.card)
        pool: OrderedPool[Prepared | str] = OrderedPool(
            prepared.prepare,
            min(workers, len(plan.todo)),
            prepared.start,
            (
                plan.sources,
                # By value, with the closures that read each; found again in each process they would cost as much again.
                cloudpickle.dumps(list(plan.todo.items())),
                [card.to_json() for card in cards],
                secret.salt,
                patient_folders,
            ),
            lambda number: LOST,
        )
        total, keys = len(plan.todo), list(plan.todo)
        for number, result in pool.results(range(total)):
            if isinstance(result, str):
                self._report.failures.append((_name(keys[number]), result))
            elif (content := result.identity.content) not in places:
                places.expect(content, result.location)
                self._waiting.append(result)
            else:
                self._report.known += 1
                # Else it is a copy of one that was read just now.
                if all(exam.identity.content != content for exam in self._waiting):
                    places.again(content, result.location)
            late = time.monotonic() - self._last > LONGEST_S
            if len(self._waiting) >= BATCH or (late and self._waiting):
                self._flush()
            if on_progress is not None:
                on_progress(_words(number + 1, total, self._report), (number + 1) / total)
        self._flush()
        self._report.removed += places.remove_replaced()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            self._add(waiting)
        except InputError:
            # One of them cannot be embedded, which is not for the others to pay for.
            for exam in waiting:
                try:
                    self._add([exam])
                except InputError as error:
                    key = exam.location.path, exam.location.part
                    self._report.failures.append((_name(key), str(error)))

    def _add(self, waiting: Sequence[Prepared]) -> None:
        if waiting:
            vectors = embed_inputs(self._model, [_tensors(exam.inputs) for exam in waiting])
            scores: Sequence[Mapping[str, float]] = [{} for _ in waiting]
            if self._scorer is not None:
                inputs = [_tensors(exam.scorer_inputs) for exam in waiting]
                scores = score_inputs(self._scorer, inputs)
            secret = self._index.needed_secret()
            records = [
                IndexedExam(
                    exam.identity,
                    embeddings,
                    exam.device,
                    self._labels.of(exam.location.path),
                    probabilities,
                    exam.thumbnails,
                    secret.seal(exam.location),
                    secret.stamp(exam.location),
                )
                for exam, embeddings, probabilities in zip(waiting, vectors, scores, strict=True)
            ]
            added = self._index.add_records(records, self._identity)
            self._report.added += added
            self._report.known += len(records) - added
        self._last = time.monotonic()


def _tensors(inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(value) for name, value in inputs.items()}


def _name(key: Key) -> str:
    path, part = key
    return f"{path} ({part})" if part else str(path)


def _words(done: int, total: int, report: FillReport) -> str:
    failed = f", {len(report.failures)} could not be read" if report.failures else ""
    return f"{done} of {total} exams{failed}"
