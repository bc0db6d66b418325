"""The tab that shows where on the fundus the B-scan in view lies, and where the model looked."""

# ruff: noqa: N802 - names of Qt's methods

from __future__ import annotations

from qtpy.QtCore import QPointF, Qt
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_octcube import _exam_words as words
from napari_octcube._bscan_lines import BScanLines
from napari_octcube._heat_maker import HeatMaker, heat_source
from napari_octcube._picture_maker import Picture, PictureMaker
from napari_octcube._session import Session
from napari_octcube._widgets.blend_bar import BlendBar
from napari_octcube._widgets.fundus_switches import FundusSwitches
from napari_octcube._widgets.localizer_view import LocalizerView
from napari_octcube._widgets.qt_dispatch import QtDispatcher
from octcube_core.etdrs import etdrs_outlines
from octcube_core.exam import EnFaceImage
from octcube_core.results import DiseaseScore

NO_EXAM = "No exam open."


class LocalizerTab(QWidget):
    """Choice of image, eye, the picture with the lines, which B-scan it is. Follows the session and drives it."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._lines: BScanLines | None = None
        self._image: EnFaceImage | None = None  # in view
        self._over: EnFaceImage | None = None  # blended over it
        dispatch = QtDispatcher(self)
        self._pictures = PictureMaker(dispatch)
        self._heats = HeatMaker(dispatch, self._on_heat)
        self.image_chooser = QComboBox()
        self.image_chooser.setToolTip("Which en-face image to show")
        self.eye_label = QLabel()
        self.whole_button = QPushButton("Whole image")
        self.whole_button.setToolTip("Undo zoom and movement (0)")
        self.blend_bar = BlendBar()
        self.switches = FundusSwitches(session)
        self.view = LocalizerView()
        self.position_label = QLabel()
        self.position_label.setToolTip(words.COUNTED)
        self.note = QLabel()
        self.note.setWordWrap(True)
        top = QHBoxLayout()
        top.addWidget(self.image_chooser)
        top.addWidget(self.eye_label, 1)
        top.addWidget(self.whole_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 8, 8, 6)
        column.setSpacing(6)
        column.addLayout(top)
        column.addWidget(self.blend_bar)
        column.addWidget(self.switches)
        column.addWidget(self.view, 1)
        column.addWidget(self.position_label)
        column.addWidget(self.note)
        column.setAlignment(self.note, Qt.AlignmentFlag.AlignTop)
        self._column = column
        self.image_chooser.currentIndexChanged.connect(self._show_image)
        self.blend_bar.changed.connect(self._show_blend)
        self.whole_button.clicked.connect(self.view.show_whole)
        self.view.clicked.connect(session.go_to_bscan)
        self.view.stepped.connect(lambda step: session.go_to_bscan(session.bscan + step))
        self.view.fovea_dragged.connect(self._place_fovea)
        self.switches.estimate_button.clicked.connect(
            lambda: session.forget_fovea(self.image_chooser.currentIndex())
        )
        session.events.exam.connect(self._show_exam)
        session.events.bscan.connect(self._show_bscan)
        for event in ("analysis", "disease", "show_heat"):
            session.events[event].connect(self._show_heat)
        for event in ("overlay_opacity", "overlay_colormap", "overlay_threshold"):
            session.events[event].connect(self._look)
        session.events.show_etdrs.connect(self._show_etdrs)
        session.fovea_moved.connect(self._show_etdrs)
        self._look()
        self._show_exam()

    def _show_exam(self) -> None:
        exam = self._session.exam
        has_image = exam is not None and bool(exam.enface)
        self.image_chooser.blockSignals(True)
        self.image_chooser.clear()
        self._lines = None
        self._heats.forget()
        if exam is not None:
            self.image_chooser.addItems(words.image_names(exam))
            self.eye_label.setText(words.eye(exam))
            if exam.locations is not None:
                self._lines = BScanLines(exam.locations)
                self.image_chooser.setCurrentIndex(exam.locations.image)
        self.image_chooser.blockSignals(False)
        for widget in (self.image_chooser, self.whole_button, self.switches, self.view):
            widget.setVisible(has_image)
        self.eye_label.setVisible(exam is not None)
        # Without a picture the sentence comes first.
        self._column.setStretch(self._column.indexOf(self.view), 1 if has_image else 0)
        self._column.setStretch(self._column.indexOf(self.note), 0 if has_image else 1)
        self._show_image()
        self._show_bscan()

    def _show_image(self) -> None:
        exam, index = self._session.exam, self.image_chooser.currentIndex()
        note = ""
        self._image = None
        if exam is None:
            note = NO_EXAM
        elif not exam.enface:
            note = words.NO_ENFACE
        else:
            image = self._image = exam.enface[index]
            self.view.set_frame(image.shape, _stretch(image))
            picture = self._picture_of(image)
            if picture is not None:
                self.view.set_pixels(picture)
            here = exam.locations is not None and exam.locations.image == index
            lines = self._lines if here else None
            outside = lines is not None and not lines.touch(image.shape)
            self.view.set_lines(None if outside else lines)
            if outside:
                note = words.OUTSIDE
            elif exam.locations is None:
                note = words.NOT_LOCATED
            elif not here:
                located = words.image_names(exam)[exam.locations.image]
                note = f"The file says where the B-scans lie on the {located} image only."
        self.note.setText(note)
        self.note.setVisible(bool(note))
        self.blend_bar.show_for(exam, index)
        self._show_blend()
        self._show_heat()
        self._show_etdrs()

    def _picture_of(self, image: EnFaceImage) -> Picture | None:
        """The picture if it is made, else it is made and comes later."""
        picture = self._pictures.made(image)
        if picture is None:
            self._pictures.make(image, self._on_picture)
        return picture

    def _on_picture(self, image: EnFaceImage, picture: Picture) -> None:
        if image is self._image:  # else another was chosen meanwhile
            self.view.set_pixels(picture)
        elif image is self._over:
            self.view.fundus.show_blended(picture)

    def _show_blend(self) -> None:
        exam, index = self._session.exam, self.blend_bar.image
        over = None if exam is None or index is None else exam.enface[index]
        self.view.fundus.blended.setOpacity(self.blend_bar.opacity)
        if over is not self._over:
            self._over = over
            self.view.fundus.show_blended(None if over is None else self._picture_of(over))

    def _look(self) -> None:
        session = self._session
        self.view.fundus.set_heat_look(
            session.overlay_opacity, session.overlay_colormap, session.overlay_threshold
        )

    def _show_heat(self) -> None:
        session, index = self._session, self.image_chooser.currentIndex()
        exam, analysis, target = session.exam, session.analysis, session.disease
        heat, text, reason = None, "Heat", ""
        if exam is None or self._image is None:
            pass
        elif analysis is None or target not in analysis.targets:
            reason = (
                "There is no saliency to show: run the analysis, and select a row of its scores."
            )
        elif not (source := heat_source(exam, analysis, index)):
            text = "Heat: none on this image"
            reason = "The model has not seen this image, and the B-scans are not placed on it."
        else:
            result = analysis.result_of(target)
            of = target if isinstance(result, DiseaseScore) else result.name
            text = f"Heat: {of}" + ("" if source == "OCT" else f" in the {source} image")
            if session.show_heat and self.isVisible():  # else nobody waits for it
                heat = self._heats.ask(exam, analysis, index, target)
        self.switches.set_heat(text, reason)
        self.view.fundus.show_heat(heat)

    def showEvent(self, event: QShowEvent | None) -> None:
        super().showEvent(event)
        self._show_heat()

    def _on_heat(self, target: str) -> None:
        if target == self._session.disease:
            self._show_heat()

    def _place_fovea(self, place: QPointF) -> None:
        # pixel centres are at integers in the session, and at a half in the scene
        self._session.place_fovea(
            self.image_chooser.currentIndex(), place.y() - 0.5, place.x() - 0.5
        )

    def _show_etdrs(self) -> None:
        fovea, outlines = None, []
        if self._image is not None:
            fovea = self._session.fovea(self.image_chooser.currentIndex())
            outlines = [line[:, ::-1] + 0.5 for line in etdrs_outlines(fovea, self._image)]
        self.switches.set_fovea(fovea if outlines else None)
        if fovea is None or not outlines or not self._session.show_etdrs:
            self.view.set_etdrs(None)
        else:
            self.view.set_etdrs((fovea.column + 0.5, fovea.row + 0.5), outlines)

    def _show_bscan(self) -> None:
        exam, bscan = self._session.exam, self._session.bscan
        self.view.set_bscan(bscan)
        self.position_label.setVisible(exam is not None)
        if exam is not None:
            pattern = f", {exam.scan_pattern}" if exam.scan_pattern else ""
            self.position_label.setText(f"B-scan {words.position(exam, bscan)}{pattern}")


def _stretch(image: EnFaceImage) -> float:
    rows, columns = image.spacing_mm
    return 1.0 if rows is None or columns is None else rows / columns
