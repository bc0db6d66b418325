"""Reads an exam on a thread, so that a large file never stops the viewer. No Qt."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import octcube_core
from napari_octcube._inference import Dispatch
from octcube_core.errors import OCTCubeError
from octcube_core.exam import Exam


def produce_in_background(
    produce: Callable[[], Exam],
    dispatch: Dispatch,
    on_exam: Callable[[Exam], None],
    on_error: Callable[[str], None],
) -> None:
    """Make an exam on a thread; hand it, or one sentence that says why there is none, to the owner's thread."""

    def work() -> None:
        try:
            exam = produce()
        except OCTCubeError as error:
            message = str(error)
            dispatch(lambda: on_error(message))
        except Exception as error:
            message = f"The exam could not be opened because of an unexpected error ({error})."
            dispatch(lambda: on_error(message))
        else:
            dispatch(lambda: on_exam(exam))

    threading.Thread(target=work, name="octcube open", daemon=True).start()


def reader_of(path: Path) -> Callable[[], Exam]:
    """The function that reads the exam at a path."""
    return lambda: octcube_core.read_exam(path)
