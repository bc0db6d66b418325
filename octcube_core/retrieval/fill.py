"""From folders of exams to an index: decoded in parallel, embedded by one model, added batch by batch.

What was added stays added, whatever becomes of the run; the next one goes on. An unchanged file is known again by its
stamp, without being read, and a moved or copied one by its content, without being embedded.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from octcube_core.checkpoints.card import ModelCard
from octcube_core.embedding import embed_inputs, model_identity
from octcube_core.errors import ExamReadError
from octcube_core.models.family import Model
from octcube_core.ordered_pool import OrderedPool
from octcube_core.readers import find_exams
from octcube_core.results import ModelIdentity
from octcube_core.retrieval import prepared
from octcube_core.retrieval.index import EmbeddingIndex
from octcube_core.retrieval.label_table import LabelTable
from octcube_core.retrieval.prepared import Key, Prepared, key_of
from octcube_core.retrieval.records import IndexedExam, Location
from octcube_core.retrieval.scoring import score_inputs
from octcube_core.worker_processes import available_cores

OnProgress = Callable[[str, float], None]

BATCH = 8  # exams that are embedded and added together
LONGEST_S = 5.0  # after which what is there is added, so that a kill loses little


@dataclass(frozen=True, eq=False)
class FillPlan:
    """What is to be done to an index.

    Attributes
    ----------
    sources : the files or folders, absolute
    todo : exams that are not known by their stamps
    known : number of exams that are
    failures : (what, sentence) of what could not be listed
    """

    sources: tuple[Path, ...]
    todo: tuple[Key, ...]
    known: int
    found: frozenset[Key]
    failures: tuple[tuple[str, str], ...]


@dataclass(eq=False)
class FillReport:
    """What was done.

    Attributes
    ----------
    added : exams that were not in the index
    known : exams that were, at that place or another
    removed : exams that were gone from their place (with ``sync``)
    failures : (name, one sentence) of exams that could not be read or embedded
    """

    added: int = 0
    known: int = 0
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


def plan_filling(
    sources: Iterable[Path], index: EmbeddingIndex, on_progress: OnProgress | None = None
) -> FillPlan:
    """List the exams in files and folders, and which of them the index does not know; reads headers at most."""
    secret = index.needed_secret()
    stamps = {stamp for _, _, _, stamp in index.places()}
    todo: list[Key] = []
    found: set[Key] = set()
    listed, failures = [], []
    known = 0
    for source in sources:
        top = source.expanduser().resolve()
        seen = len(found)
        try:
            for entry in find_exams(top):
                key = key_of(entry)
                if key in found:
                    continue
                found.add(key)
                if secret.stamp(Location(*key)) in stamps:
                    known += 1
                else:
                    todo.append(key)
                if on_progress is not None and len(found) % 50 == 0:
                    on_progress(f"Looking for exams: {len(found)}", 0.0)
        except ExamReadError as error:
            failures.append((str(source), str(error)))
        if len(found) > seen:
            listed.append(top)
    return FillPlan(tuple(listed), tuple(todo), known, frozenset(found), tuple(failures))


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
        report.removed = _remove_gone(plan, index)
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

    def run(
        self, plan: FillPlan, patient_folders: bool, workers: int, on_progress: OnProgress | None
    ) -> None:
        secret = self._index.needed_secret()
        contents = {content: where for _, content, where, _ in self._index.places()}
        cards: list[ModelCard] = [self._model.card]
        if self._scorer is not None:
            cards.append(self._scorer.card)
        pool: OrderedPool[Prepared | str] = OrderedPool(
            prepared.prepare,
            min(workers, len(plan.todo)),
            prepared.start,
            (
                plan.sources,
                plan.todo,
                [card.to_json() for card in cards],
                secret.salt,
                patient_folders,
            ),
            lambda number: (
                "It ended the process that read it; the file is damaged, or memory ran out."
            ),
        )
        total = len(plan.todo)
        for number, result in pool.results(range(total)):
            if isinstance(result, str):
                self._report.failures.append((_name(plan.todo[number]), result))
            elif result.identity.content in contents:
                self._again(result, contents[result.identity.content])
            else:
                contents[result.identity.content] = result.location
                self._waiting.append(result)
            late = time.monotonic() - self._last > LONGEST_S
            if len(self._waiting) >= BATCH or (late and self._waiting):
                self._flush()
            if on_progress is not None:
                on_progress(_words(number + 1, total, self._report), (number + 1) / total)
        self._flush()

    def _again(self, known: Prepared, before: Location | None) -> None:
        """An exam that is there already: note where it lies now, unless it is a copy and the first is still there."""
        self._report.known += 1
        place = known.location
        if before is None or before == place or _is_gone(before.path):
            self._index.relocate(known.identity.content, place)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            vectors = embed_inputs(self._model, [exam.inputs for exam in waiting])
            scores: Sequence[Mapping[str, float]] = [{} for _ in waiting]
            if self._scorer is not None:
                scores = score_inputs(self._scorer, [exam.scorer_inputs for exam in waiting])
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


def _remove_gone(plan: FillPlan, index: EmbeddingIndex) -> int:
    """Remove the exams below the sources that were not listed and are not there."""
    read = {path for path, part in plan.found if part}  # files whose exams are all known
    gone = [
        number
        for number, _, where, _ in index.places()
        if where is not None
        and (where.path, where.part) not in plan.found
        and any(where.path.is_relative_to(source) for source in plan.sources)
        and (where.path in read or _is_gone(where.path))
    ]
    return index.remove(gone)


def _is_gone(path: Path) -> bool:
    """Whether there is no such file; one that may not be looked at is not gone."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _name(key: Key) -> str:
    path, part = key
    return f"{path} ({part})" if part else str(path)


def _words(done: int, total: int, report: FillReport) -> str:
    failed = f", {len(report.failures)} could not be read" if report.failures else ""
    return f"{done} of {total} exams{failed}"
