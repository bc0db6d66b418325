"""Opens a damaged exam and says whether what came of it may be: an exam, or one clear sentence."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from octcube_core.errors import ExamReadError, InputError, printable
from octcube_core.exam import Exam
from octcube_core.export import exam_facts
from octcube_core.readers import ExamEntry, read_exam, read_exams
from tests.fuzz.case import Case
from tests.fuzz.memory import peak_bytes, resident_bytes
from tests.fuzz.sample import IDENTITY

Refusal = tuple[str, BaseException]  # the file that it is about
Opened = tuple[list[Exam], list[Refusal]]
Reader = Callable[[Path, Mapping[str, Any]], Opened]
Problem = tuple[str, str]  # kind, detail

SECONDS, MEMORY_BYTES = 10.0, 1 << 30
LONGEST = 500
_SECOND_SENTENCE = re.compile(r"[.!?]\s+[A-Z]")
_CLASS_NAME = re.compile(
    r"\b[A-Za-z]*(Error|Exception|Warning)\b|Traceback|<class|\bobject at\b|0x[0-9a-f]{6}"
)


def open_all(path: Path, options: Mapping[str, Any]) -> Opened:
    """Every exam at a path, and the errors about those that cannot be read."""
    refusals: list[Refusal] = []
    exams: list[Exam] = []

    def refused(entry: ExamEntry, error: ExamReadError) -> None:
        refusals.append((entry.path.name, error))

    try:
        exams.extend(read_exams(path, on_error=refused, **options))
        if not exams and not refusals:
            exams.append(read_exam(path, **options))
    except (ExamReadError, InputError) as error:
        refusals.append((path.name, error))
    return exams, refusals


def digest(exam: Exam) -> str:
    """What a volume holds, in short."""
    voxels = np.ascontiguousarray(exam.volume.voxels)
    return hashlib.sha256(f"{voxels.shape}{voxels.dtype}".encode() + voxels.tobytes()).hexdigest()


@dataclass(frozen=True)
class Finding:
    """What came of a case.

    Attributes
    ----------
    outcome : 'opened', 'in part' (other exams of the folder are refused) or 'refused'
    problems : list of (kind, detail)
    seconds : float
    memory : int
        Bytes by which the process grew at most; that of an earlier case if it was more.
    """

    outcome: str
    problems: list[Problem]
    seconds: float
    memory: int


def judge(case: Case, read: Reader, printed: Callable[[], str]) -> Finding:
    """Open a case.

    Parameters
    ----------
    case : Case
    read : callable
    printed : callable
        What has gone to stdout and stderr since it was last asked.

    Returns
    -------
    Finding
    """
    printed()
    before = resident_bytes()
    start = time.perf_counter()
    with _logged() as records:
        try:
            exams, refusals = read(case.opened, case.sample.options)
            digests = [digest(exam) for exam in exams]
            facts = [exam_facts(exam) for exam in exams]
        except BaseException as error:
            exams, refusals, digests, facts = [], [(case.opened.name, error)], [], []
    seconds, memory = time.perf_counter() - start, peak_bytes() - before
    problems: list[Problem] = []
    if seconds > SECONDS:
        problems.append(("slow", f"{seconds:.1f} s"))
    if memory > MEMORY_BYTES:
        problems.append(("memory", f"{memory >> 20} MiB"))
    if output := printed():
        problems.append(("output", output[:LONGEST]))
    if not exams and not refusals:
        problems.append(("nothing", "neither an exam nor an error"))
    problems.extend(_about_volumes(case, exams, digests))
    problems.extend(_about_facts(facts))
    for name, error in refusals:
        problems.extend(_about_error(name, error, case))
    warnings = [warning for exam in exams for warning in exam.warnings]
    for warning in warnings:
        problems.extend(_about_sentence(warning))
    for text in (*(str(error) for _, error in refusals), *warnings, *records):
        if any(part in text.lower() for part in IDENTITY):
            problems.append(("identity", text[:LONGEST]))
    outcome = "refused" if not exams else "in part" if refusals else "opened"
    return Finding(outcome, problems, seconds, memory)


def _about_volumes(case: Case, exams: Sequence[Exam], digests: Sequence[str]) -> Iterator[Problem]:
    if case.truncated and not set(digests) <= set(case.sample.exams):
        yield "half-read volume", f"opened as {[exam.volume.shape for exam in exams]}"
    noisy = case.sample.noisy and not case.cleared
    if noisy and any(has_blank_part(exam) for exam in exams):
        yield "blank B-scan", "a B-scan or its end is of one value, as if filled up"


def _about_error(name: str, error: BaseException, case: Case) -> Iterator[Problem]:
    message = str(error)
    if type(error) not in (ExamReadError, InputError):
        yield "other exception", f"{type(error).__name__}: {message}"[:LONGEST]
        return
    yield from _about_sentence(message)
    if printable(name) not in message and not _names_a_file(message, case.opened):
        yield "message without a file", message[:LONGEST]
    if "does not fit into this computer" in message:
        yield "memory", message[:LONGEST]


def _about_sentence(text: str) -> Iterator[Problem]:
    if "\n" in text or not text.isprintable():
        yield "message not printable", repr(text)[:LONGEST]
    elif not text.endswith(".") or _SECOND_SENTENCE.search(text) or len(text) > LONGEST:
        yield "not one sentence", text[:LONGEST]
    if _CLASS_NAME.search(text):
        yield "class name", text[:LONGEST]


def has_blank_part(exam: Exam) -> bool:
    """Whether the last quarter of any B-scan has one value, as where missing voxels are made up."""
    voxels = exam.volume.voxels
    rows = voxels.shape[1] // 4
    if rows * voxels.shape[2] < 64:
        return False
    ends = voxels[:, -rows:]
    return bool((ends.min(axis=(1, 2)) == ends.max(axis=(1, 2))).any())


def _about_facts(facts: Sequence[dict[str, Any]]) -> Iterator[Problem]:
    try:
        json.dumps(facts, allow_nan=False)
    except (TypeError, ValueError) as error:
        yield "facts are no JSON", str(error)


def _names_a_file(message: str, opened: Path) -> bool:
    if opened.name in message:
        return True
    around = opened if opened.is_dir() else opened.parent
    return any(path.name in message for path in (around, *around.rglob("*")))


@contextmanager
def _logged() -> Iterator[list[str]]:
    """Collects every log record that passes its logger, whether or not a handler would show it."""
    texts: list[str] = []
    hand_on = logging.Logger.callHandlers
    level = logging.root.level

    def collect(logger: logging.Logger, record: logging.LogRecord) -> None:
        texts.append(record.getMessage())
        hand_on(logger, record)

    logging.Logger.callHandlers = collect
    logging.root.setLevel(logging.DEBUG)  # the handler of last resort still prints warnings alone
    try:
        yield texts
    finally:
        logging.Logger.callHandlers = hand_on
        logging.root.setLevel(level)
