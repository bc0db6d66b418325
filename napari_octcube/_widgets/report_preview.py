"""A page as a picture that fits its room; a click, Enter or Space shows it in full size."""

from __future__ import annotations

from qtpy.QtCore import QRectF, QSize, Qt, Signal
from qtpy.QtGui import QImage, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPixmap
from qtpy.QtWidgets import QDialog, QLabel, QScrollArea, QVBoxLayout, QWidget

from napari_octcube._report_files import Page

A4 = 210 / 297  # width over height
TIP = "The report as it will be saved and printed. Click to read it in full size."


class ReportPreview(QWidget):
    """The page, or a sentence that says why there is none."""

    enlarged = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._image: QImage | None = None
        self._words = ""
        self.setMinimumHeight(160)

    def sizeHint(self) -> QSize:  # noqa: N802
        """Room for a page of this width."""
        return QSize(300, round(300 / A4))

    @property
    def image(self) -> QImage | None:
        """The page."""
        return self._image

    def show_page(self, page: Page | None, words: str) -> None:
        """Show a page, or else words."""
        self._image = None if page is None else qt_image(page)
        self._words = words
        shown = page is not None
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus if shown else Qt.FocusPolicy.NoFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor if shown else Qt.CursorShape.ArrowCursor)
        self.setToolTip(TIP if shown else "")
        self.setAccessibleName("Preview of the report")
        self.update()

    def page_rect(self) -> QRectF:
        """Where the page is drawn."""
        height = min(self.height() - 2.0, (self.width() - 2.0) / A4)
        width = height * A4
        return QRectF((self.width() - width) / 2, 1.0, width, height)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        """Draw the page in the middle."""
        painter = QPainter(self)
        if self._image is None:
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.rect().adjusted(12, 12, -12, -12), flags, self._words)
            return
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        target = self.page_rect()
        ratio = self.devicePixelRatioF()
        # Drawn at once so much smaller, letters break up; a scaled picture takes the mean.
        small = self._image.scaled(
            QSize(round(target.width() * ratio), round(target.height() * ratio)),
            Qt.AspectRatioMode.IgnoreAspectRatio,
            Qt.TransformationMode.SmoothTransformation,
        )
        painter.drawImage(target, small)
        if self.hasFocus():
            painter.setPen(self.palette().highlight().color())
            painter.drawRect(target)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        """A click enlarges."""
        if self._image is not None and event.button() == Qt.MouseButton.LeftButton:
            self.enlarged.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """Enter and Space enlarge."""
        keys = (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space)
        if self._image is not None and event.key() in keys:
            self.enlarged.emit()
        else:
            super().keyPressEvent(event)


class ReportWindow(QDialog):
    """A page in full size, to scroll through."""

    def __init__(self, image: QImage, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Report")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        label = QLabel()
        label.setPixmap(
            QPixmap.fromImage(
                image.scaledToWidth(
                    min(image.width(), 960), Qt.TransformationMode.SmoothTransformation
                )
            )
        )
        area = QScrollArea()
        area.setWidget(label)
        area.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(area)
        room = self.screen().availableGeometry()
        self.resize(min(1000, room.width() - 40), min(1400, room.height() - 60))


def qt_image(page: Page) -> QImage:
    """A page as Qt draws it, with pixels of its own."""
    height, width, _ = page.shape
    return QImage(page.data, width, height, 3 * width, QImage.Format.Format_RGB888).copy()
