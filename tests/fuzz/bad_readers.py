"""Readers with one fault each, so that a test can see the fuzzer find it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from octcube_core.errors import ExamReadError
from octcube_core.exam import Exam, OCTVolume
from tests.fuzz.judge import Opened
from tests.fuzz.sample import NAME, SHAPE


def _refuses(words: str) -> Callable[[Path, Mapping[str, Any]], Opened]:
    def read(path: Path, options: Mapping[str, Any]) -> Opened:
        return [], [(path.name, ExamReadError(f"{path.name} {words}"))]

    return read


def _opens(**facts: Any) -> Callable[[Path, Mapping[str, Any]], Opened]:
    def read(path: Path, options: Mapping[str, Any]) -> Opened:
        return [Exam(OCTVolume(np.zeros(SHAPE, np.uint8)), format="fake", **facts)], []

    return read


good = _refuses("is damaged; copy it again.")
two_sentences = _refuses("is damaged. Copy it again.")
two_lines = _opens(warnings=("This is\nodd.",))
class_name = _refuses("has a KeyError inside.")
leaks_in_error = _refuses(f"belongs to {NAME}.")
zeros_for_missing_data = fills_up = _opens()
leaks_in_warning = _opens(warnings=(f"The exam of {NAME} is damaged.",))


def raises(path: Path, options: Mapping[str, Any]) -> Opened:
    raise TypeError("unsupported operand")


def names_no_file(path: Path, options: Mapping[str, Any]) -> Opened:
    return [], [(path.name, ExamReadError("That is damaged; copy it again."))]


def prints(path: Path, options: Mapping[str, Any]) -> Opened:
    sys.stdout.write("Reading.\n")
    return good(path, options)


def logs_a_warning(path: Path, options: Mapping[str, Any]) -> Opened:
    import logging

    logging.getLogger("fake").warning("That is odd.")
    return good(path, options)


def leaks_in_log(path: Path, options: Mapping[str, Any]) -> Opened:
    import logging

    logging.getLogger("fake").debug("Patient %s", NAME)
    return good(path, options)


def hangs(path: Path, options: Mapping[str, Any]) -> Opened:
    time.sleep(600)
    return good(path, options)


def dies(path: Path, options: Mapping[str, Any]) -> Opened:
    import os

    os.abort()


def takes_memory(path: Path, options: Mapping[str, Any]) -> Opened:
    taken = np.zeros(1100 << 20, np.uint8)
    taken[::1024] = 1
    return good(path, options)
