"""Projects saliency onto a fundus image, on a thread: it takes longer than a viewer may stand still. No Qt."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_octcube._inference import Dispatch
from octcube_core.errors import OCTCubeError
from octcube_core.exam import Exam
from octcube_core.fundus_views import image_saliency, localizer_saliency
from octcube_core.results import Analysis

MAX_SIDE = 1024  # saliency is smooth, and is drawn anew at every step

Heat = NDArray[np.uint8]


def heat_source(exam: Exam, analysis: Analysis, image: int) -> str:
    """In what the model saw the heat of an image: 'OCT', the image's modality, or '' if there is none."""
    if exam.locations is not None and exam.locations.image == image:
        return "OCT"
    modality = exam.enface[image].modality
    first = next(index for index, other in enumerate(exam.enface) if other.modality == modality)
    return modality if modality in analysis.enface and first == image else ""


@dataclass(eq=False)
class _Job:
    """The heat of one image by one analysis: what is made of it and what is to be."""

    exam: Exam
    analysis: Analysis
    image: int
    pending: deque[str]
    made: dict[str, Heat] = field(default_factory=dict)


class HeatMaker:
    """Makes the heat of each target once, the one in demand first. All methods happen on the owner's thread.

    What is made of one analysis is kept until another comes.

    Parameters
    ----------
    dispatch : callable
        Runs a function on the owner's thread, from any thread.
    on_heat : callable
        Called there after a target's heat is made.
    """

    def __init__(self, dispatch: Dispatch, on_heat: Callable[[str], None]) -> None:
        self._dispatch = dispatch
        self._on_heat = on_heat
        self._jobs: dict[int, _Job] = {}  # by image, of one analysis

    def ask(self, exam: Exam, analysis: Analysis, image: int, target: str) -> Heat | None:
        """Return a target's saliency on an image as 0 to 255, or None and make it, and then those of the others."""
        job = self._jobs.get(image)
        if job is None or job.exam is not exam or job.analysis is not analysis:
            self._jobs = {
                index: other for index, other in self._jobs.items() if other.analysis is analysis
            }
            others = (other for other in analysis.targets if other != target)
            job = self._jobs[image] = _Job(exam, analysis, image, deque((target, *others)))
            threading.Thread(
                target=self._work, args=(job,), name="octcube heat", daemon=True
            ).start()
        elif target in job.pending:
            job.pending.appendleft(target)  # the second time it is skipped
        return job.made.get(target)

    def forget(self) -> None:
        """Drop what is made and what is being made."""
        self._jobs = {}

    def _work(self, job: _Job) -> None:
        begun: set[str] = set()
        while job.pending and job is self._jobs.get(job.image):
            target = job.pending.popleft()
            if target not in begun:
                begun.add(target)
                self._make(job, target)

    def _make(self, job: _Job, target: str) -> None:
        try:
            heat = _heat(job.exam, job.analysis, job.image, target)
        except OCTCubeError:  # the analysis is of another volume: there is nothing to show
            return

        def finish() -> None:
            job.made[target] = heat
            if job is self._jobs.get(job.image):
                self._on_heat(target)

        self._dispatch(finish)


def _heat(exam: Exam, analysis: Analysis, index: int, target: str) -> Heat:
    image = exam.enface[index]
    step = max(1, -(-max(image.shape) // MAX_SIDE))
    if heat_source(exam, analysis, index) == "OCT":
        saliency = localizer_saliency(exam, analysis, target, step=step)
    else:
        saliency = image_saliency(image, analysis, target, step)
    return np.ascontiguousarray(np.rint(np.clip(saliency, 0.0, 1.0) * 255.0).astype(np.uint8))
