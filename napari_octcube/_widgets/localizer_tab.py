"""The tab that shows where on the fundus the B-scan in view lies."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_octcube import _exam_words as words
from napari_octcube._bscan_lines import BScanLines
from napari_octcube._picture_maker import Picture, PictureMaker
from napari_octcube._session import Session
from napari_octcube._widgets.localizer_view import LocalizerView
from napari_octcube._widgets.qt_dispatch import QtDispatcher
from octcube_core.exam import EnFaceImage

NO_EXAM = "No exam open."


class LocalizerTab(QWidget):
    """Choice of image, eye, the picture with the lines, which B-scan it is. Follows the session and drives it."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._lines: BScanLines | None = None
        self._image: EnFaceImage | None = None  # in view
        self._pictures = PictureMaker(QtDispatcher(self))
        self.image_chooser = QComboBox()
        self.image_chooser.setToolTip("Which en-face image to show")
        self.eye_label = QLabel()
        self.whole_button = QPushButton("Whole image")
        self.whole_button.setToolTip("Undo zoom and movement (0)")
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
        column.addWidget(self.view, 1)
        column.addWidget(self.position_label)
        column.addWidget(self.note)
        column.setAlignment(self.note, Qt.AlignmentFlag.AlignTop)
        self._column = column
        self.image_chooser.currentIndexChanged.connect(self._show_image)
        self.whole_button.clicked.connect(self.view.show_whole)
        self.view.clicked.connect(session.go_to_bscan)
        self.view.stepped.connect(lambda step: session.go_to_bscan(session.bscan + step))
        session.events.exam.connect(self._show_exam)
        session.events.bscan.connect(self._show_bscan)
        self._show_exam()

    def _show_exam(self) -> None:
        exam = self._session.exam
        has_image = exam is not None and bool(exam.enface)
        self.image_chooser.blockSignals(True)
        self.image_chooser.clear()
        self._lines = None
        if exam is not None:
            self.image_chooser.addItems(words.image_names(exam))
            self.eye_label.setText(words.eye(exam))
            if exam.locations is not None:
                self._lines = BScanLines(exam.locations)
                self.image_chooser.setCurrentIndex(exam.locations.image)
        self.image_chooser.blockSignals(False)
        for widget in (self.image_chooser, self.whole_button, self.view):
            widget.setVisible(has_image)
        self.eye_label.setVisible(exam is not None)
        # Without a picture the sentence comes first.
        self._column.setStretch(3, 0 if has_image else 1)
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
            picture = self._pictures.made(image)
            if picture is None:
                self._pictures.make(image, self._on_picture)
            else:
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

    def _on_picture(self, image: EnFaceImage, picture: Picture) -> None:
        if image is self._image:  # else another was chosen meanwhile
            self.view.set_pixels(picture)

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
