"""The state of one viewer in plain Python. Widgets observe it and never each other. No Qt, no napari."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from psygnal import Signal, SignalGroupDescriptor

from napari_octcube._foveas import Foveas
from octcube_core.colours import OVERLAY_COLORMAPS
from octcube_core.etdrs import Fovea
from octcube_core.exam import Exam
from octcube_core.results import Analysis

Aspect = Literal["um", "px"]
DONE = "Done"  # the stage of a run that ended well


@dataclass(eq=False)
class Session:
    """What the user looks at and what runs; ``session.events.<field>`` tells when a field changes.

    Attributes
    ----------
    exam : Exam or None
        The exam in view.
    bscan : int
        Index of its B-scan in view.
    model : str
        Name or path of the model that the next run uses.
    opening : str
        Name of the file or folder being read; empty when none is.
    device : str
        'CPU' or the GPU's name; empty until the model process has said so.
    running : Exam or None
        The exam that the model process works on.
    stage, fraction : str, float
        What the run is doing and how far it is, 0 to 1.
    analysis : Analysis or None
        The latest result for the exam in view.
    disease : str or None
        Abbreviation of the disease, or of the measurement, whose saliency is shown.
    error : str
        The last failure in one sentence; empty when all is well.
    aspect : 'um' or 'px'
        Whether a B-scan is drawn in true proportions or with square pixels.
    overlay_opacity : float
        Of the saliency, 0 to 1, on the B-scans and on the fundus.
    overlay_colormap : str
        One of ``OVERLAY_COLORMAPS``.
    overlay_threshold : float
        Saliency below it, 0 to 1, is transparent.
    show_heat, show_etdrs : bool
        Whether the localizer shows the saliency, and the ETDRS grid.
    """

    exam: Exam | None = None
    bscan: int = 0
    model: str = "demo"
    opening: str = ""
    device: str = ""
    running: Exam | None = None
    stage: str = ""
    fraction: float = 0.0
    analysis: Analysis | None = None
    disease: str | None = None
    error: str = ""
    aspect: Aspect = "um"
    overlay_opacity: float = 0.8
    overlay_colormap: str = OVERLAY_COLORMAPS[0]
    overlay_threshold: float = 0.0
    show_heat: bool = True
    show_etdrs: bool = False
    _foveas: Foveas = field(default_factory=Foveas, repr=False)

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()
    exam_closed: ClassVar[Signal] = Signal(object)
    analysis_finished: ClassVar[Signal] = Signal(object)
    fovea_moved: ClassVar[Signal] = Signal(int)  # on this image of the exam in view

    def show_exam(self, exam: Exam | None) -> None:
        """Make an exam the one in view."""
        if exam is self.exam:
            return
        self.disease = None  # first, so that no observer pairs the old disease with the new exam
        self.analysis = None
        self.bscan = 0
        self.exam = exam
        self.error = self.stage = ""
        self.fraction = 0.0

    def go_to_bscan(self, index: int) -> None:
        """Look at a B-scan, or at the nearest one that exists."""
        if self.exam is not None:
            self.bscan = min(max(index, 0), self.exam.volume.shape[0] - 1)

    def fovea(self, image: int) -> Fovea:
        """Where the fovea is on an en-face image of the exam in view."""
        assert self.exam is not None
        return self._foveas.of(self.exam, image)

    def place_fovea(self, image: int, row: float, column: float) -> None:
        """Move the fovea on an en-face image of the exam in view; it stays there when the exam is opened again."""
        if self.exam is not None:
            self._foveas.place(self.exam, image, row, column)
            self.fovea_moved.emit(image)

    def forget_fovea(self, image: int) -> None:
        """Go back to the estimated fovea on an image."""
        if self.exam is not None:
            self._foveas.forget(self.exam, image)
            self.fovea_moved.emit(image)

    def close(self) -> None:
        """Keep on disk what is to be remembered."""
        self._foveas.close()

    def close_exam(self, exam: Exam) -> None:
        """Forget an exam and its result."""
        if exam is self.exam:
            self.show_exam(None)
        self.exam_closed.emit(exam)

    def begin(self, exam: Exam) -> None:
        """A run on an exam has started."""
        self.error = ""
        self.stage, self.fraction = "Waiting for the model process", 0.0
        self.running = exam

    def progress(self, stage: str, fraction: float) -> None:
        """The run has come this far."""
        self.stage, self.fraction = stage, fraction

    def finish(self, exam: Exam, analysis: Analysis) -> None:
        """The run on an exam has ended well; the result counts if the exam is still in view."""
        self._end(DONE, 1.0)
        self.device = analysis.device
        if exam is self.exam:
            self.analysis = analysis
            self.disease = analysis.top_target
            self.analysis_finished.emit(analysis)

    def fail(self, message: str) -> None:
        """The run has ended without a result, or the model process could not serve; one sentence says why."""
        self._end("Failed", 0.0)
        self.error = message

    def stop(self) -> None:
        """The run has ended because the user asked."""
        self._end("Cancelled", 0.0)

    def _end(self, stage: str, fraction: float) -> None:
        self.stage, self.fraction = stage, fraction
        self.running = None
