"""What is to be done to an index, told from names and states of files alone: nothing is decoded, no model is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from octcube_core.errors import ExamReadError
from octcube_core.readers import ExamEntry, find_exams
from octcube_core.retrieval.index import EmbeddingIndex
from octcube_core.retrieval.label_table import LabelTable
from octcube_core.retrieval.prepared import Key, key_of
from octcube_core.retrieval.records import Location

OnProgress = Callable[[str, float], None]


@dataclass(frozen=True, eq=False)
class FillPlan:
    """What is to be done to an index.

    Attributes
    ----------
    sources : the files or folders, absolute
    todo : exams that are not known by their stamps, with what reads each
    known : number of exams that are
    failures : (what, sentence) of what could not be listed
    """

    sources: tuple[Path, ...]
    todo: Mapping[Key, ExamEntry]
    known: int
    found: frozenset[Key]
    failures: tuple[tuple[str, str], ...]


def plan_filling(
    sources: Iterable[Path], index: EmbeddingIndex, on_progress: OnProgress | None = None
) -> FillPlan:
    """List the exams in files and folders, and which of them the index does not know; reads headers at most."""
    secret = index.needed_secret()
    stamps = index.stamps()
    todo: dict[Key, ExamEntry] = {}
    found: set[Key] = set()
    listed, failures = [], []
    known = 0
    for source in sources:
        seen = len(found)
        try:
            top = _absolute(source)
            for entry in find_exams(top):
                key = key_of(entry)
                if key in found:
                    continue
                found.add(key)
                if secret.stamp(Location(*key)) in stamps:
                    known += 1
                else:
                    todo[key] = entry
                if on_progress is not None and len(found) % 50 == 0:
                    on_progress(f"Looking for exams: {len(found)}", 0.0)
        except ExamReadError as error:
            failures.append((str(source), str(error)))
        if len(found) > seen:
            listed.append(top)
    return FillPlan(tuple(listed), todo, known, frozenset(found), tuple(failures))


def remove_gone(plan: FillPlan, index: EmbeddingIndex) -> int:
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


def relabel(plan: FillPlan, index: EmbeddingIndex, labels: LabelTable) -> int:
    """Give the exams that were listed the labels of the table, which may be newer than they; count what changed."""
    listed = {
        number: where.path
        for number, _, where, _ in index.places()
        if where is not None and (where.path, where.part) in plan.found
    }
    known = index.labels_of(list(listed))
    changed = 0
    for number, path in listed.items():
        wanted = labels.named(path)
        if wanted is not None and set(wanted) != set(known.get(number, ())):
            index.label(number, wanted)
            changed += 1
    return changed


def _absolute(source: Path) -> Path:
    try:
        return source.expanduser().resolve()
    except (RuntimeError, ValueError):  # no such user, or links in a circle
        raise ExamReadError(f"{source} does not exist; check the path.") from None


def _is_gone(path: Path) -> bool:
    """Whether there is no such file; one that may not be looked at is not gone."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
