"""A page of a PDF that is measured in millimetres from its upper left corner, and text that fits its room."""

from __future__ import annotations

from io import BytesIO

from PIL import Image
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from octcube_core.report.fonts import load_fonts, runs, width
from octcube_core.report.html import jpeg

WIDTH, HEIGHT = 210.0, 297.0  # A4
_POINTS = 72 / 25.4  # per mm
_LEADING = 1.3  # from line to line, in heights of the letters
_SMALLEST = 5.5

Colour = tuple[float, float, float]
BLACK: Colour = (0.07, 0.07, 0.07)
GREY: Colour = (0.33, 0.33, 0.33)


class Page:
    """One page of A4; sizes of letters are in points, everything else in mm."""

    def __init__(self, title: str, subject: str, creator: str) -> None:
        load_fonts()
        self._buffer = BytesIO()
        # invariant: no time of writing, which often is the date of the exam
        size = (WIDTH * _POINTS, HEIGHT * _POINTS)
        self._canvas = Canvas(self._buffer, size, invariant=1, pageCompression=1, lang="en")
        self._canvas.setTitle(title)
        self._canvas.setSubject(subject)
        self._canvas.setCreator(creator)

    def finished(self) -> bytes:
        """The file."""
        self._canvas.showPage()
        self._canvas.save()
        return self._buffer.getvalue()

    def line(
        self,
        x: float,
        y: float,
        room: float,
        text: str,
        size: float,
        *,
        bold: bool = False,
        colour: Colour = BLACK,
        right: bool = False,
    ) -> None:
        """Write one line whose letters stand on ``y``, smaller if there is no room, cut if there still is none."""
        while size > _SMALLEST and width(text, size, bold) > room * _POINTS:
            size = max(_SMALLEST, size - 0.25)
        text = _cut(text, size, room, bold)
        written = self._canvas.beginText(
            (x + room) * _POINTS - width(text, size, bold) if right else x * _POINTS,
            (HEIGHT - y) * _POINTS,
        )
        written.setFillColorRGB(*colour)
        for font, piece in runs(text, bold):
            written.setFont(font, size)
            written.textOut(piece)
        self._canvas.drawText(written)

    def paragraph(
        self,
        x: float,
        y: float,
        room: float,
        text: str,
        size: float,
        lines: int,
        *,
        bold: bool = False,
        colour: Colour = BLACK,
    ) -> float:
        """Write at most ``lines`` lines below ``y`` and return where they end; the last one is cut if need be."""
        wrapped = wrap(text, size, room, bold)
        if len(wrapped) > lines:
            wrapped = [
                *wrapped[: lines - 1],
                _cut(" ".join(wrapped[lines - 1 :]), size, room, bold),
            ]
        step = size * _LEADING / _POINTS
        for part in wrapped:
            self.line(x, y + step * 0.75, room, part, size, bold=bold, colour=colour)
            y += step
        return y

    def box(self, x: float, y: float, wide: float, high: float, colour: Colour) -> None:
        """A filled rectangle."""
        self._canvas.setFillColorRGB(*colour)
        self._canvas.rect(*self._placed(x, y, wide, high), stroke=0, fill=1)

    def frame(self, x: float, y: float, wide: float, high: float) -> None:
        """The outline of a rectangle."""
        self._canvas.setStrokeColorRGB(*GREY)
        self._canvas.setLineWidth(0.7)
        self._canvas.rect(*self._placed(x, y, wide, high), stroke=1, fill=0)

    def picture(
        self, x: float, y: float, most: tuple[float, float], image: Image.Image
    ) -> tuple[float, float]:
        """Draw a picture as large as (width, height) allow and return its size."""
        factor = min(most[0] / image.width, most[1] / image.height)
        wide, high = image.width * factor, image.height * factor
        left, bottom, *size = self._placed(x, y, wide, high)
        self._canvas.drawImage(ImageReader(BytesIO(jpeg(image))), left, bottom, *size)
        return wide, high

    def _placed(
        self, x: float, y: float, wide: float, high: float
    ) -> tuple[float, float, float, float]:
        return x * _POINTS, (HEIGHT - y - high) * _POINTS, wide * _POINTS, high * _POINTS


def wrap(text: str, size: float, room: float, bold: bool = False) -> list[str]:
    """Break a text into lines of at most ``room`` mm; a word longer than a line is broken as well."""
    lines: list[str] = []
    current = ""
    for word in text.split():
        longer = f"{current} {word}" if current else word
        if width(longer, size, bold) <= room * _POINTS:
            current = longer
            continue
        if current:
            lines.append(current)
        while width(word, size, bold) > room * _POINTS:
            end = next(
                n
                for n in range(len(word) - 1, 0, -1)
                if n == 1 or width(word[:n], size, bold) <= room * _POINTS
            )
            lines.append(word[:end])
            word = word[end:]
        current = word
    return [*lines, current] if current else lines


def _cut(text: str, size: float, room: float, bold: bool) -> str:
    if width(text, size, bold) <= room * _POINTS:
        return text
    while text and width(text + "…", size, bold) > room * _POINTS:
        text = text[:-1]
    return text.rstrip() + "…"
