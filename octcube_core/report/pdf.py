"""A report as PDF: one page of A4, text as text."""

from __future__ import annotations

from octcube_core import __version__
from octcube_core.report.content import MANY_SCORES, Report, ScoreLine
from octcube_core.report.page import BLACK, GREY, HEIGHT, WIDTH, Colour, Page
from octcube_core.report.words import Rows

MARGIN = 14.0
INSIDE = WIDTH - 2 * MARGIN
LEFT, GAP = 106.0, 6.0  # width of the scores, and between them and the view from the front
FRONT_HEIGHT, BSCAN_GAP = 66.0, 4.0
BSCAN_HEIGHT, LARGE_HEIGHT, SMALL_HEIGHT = 41.0, 72.0, 33.0
FOOTER = HEIGHT - 28.0
NOTE_SIZE, NOTE_LINES = 7.5, 2
RED: Colour = (0.54, 0.11, 0.0)
BAR: Colour = (0.20, 0.39, 0.55)
BAR_GROUND: Colour = (0.89, 0.89, 0.89)


def pdf_bytes(report: Report) -> bytes:
    """The whole file.

    Raises
    ------
    InputError
        If the fonts are missing.
    """
    page = Page(report.title, report.disclaimer, f"napari-octcube {__version__}")
    y = _header(page, report)
    if report.identity:
        top = y
        y = _facts(page, report.identity, y + 1.5, inset=2.0)
        page.frame(MARGIN, top, INSIDE, y - top)
        y += 1.5
    y = _facts(page, report.facts, y + 1)
    y = max(_scores(page, report, y), _front(page, report, y))
    y = _bscans(page, report, y + 3)
    _notes(page, report.notes, y + 2)
    _footer(page, report)
    return page.finished()


def _header(page: Page, report: Report) -> float:
    page.line(MARGIN, 18, 110, report.title, 16, bold=True)
    page.line(MARGIN + 110, 18, INSIDE - 110, report.eye, 13, bold=True, right=True)
    page.box(MARGIN, 20, INSIDE, 0.5, BLACK)
    text = " · ".join((report.disclaimer, *report.synthetic))
    return page.paragraph(MARGIN, 21.5, INSIDE, text, 8.5, 3, bold=True, colour=RED) + 1


def _facts(page: Page, rows: Rows, y: float, inset: float = 0.0) -> float:
    """Names and values in two columns."""
    column = INSIDE / 2
    for first in range(0, len(rows), 2):
        ends = []
        for side, (name, value) in enumerate(rows[first : first + 2]):
            x = MARGIN + inset + side * column
            page.paragraph(x, y, 25, name, 8, 1, colour=GREY)
            ends.append(page.paragraph(x + 26, y, column - 28 - inset, value, 8, 2))
        y = max(ends) + 0.6
    return y + 0.5


def _heading(page: Page, x: float, y: float, room: float, text: str) -> float:
    return page.paragraph(x, y, room, text, 9.5, 2, bold=True) + 0.8


def _scores(page: Page, report: Report, y: float) -> float:
    y += 1.5
    if report.scores:
        y = _heading(page, MARGIN, y, LEFT, "Diseases")
        for line in report.scores:
            y = _score(page, line, y, 1 if len(report.scores) >= MANY_SCORES else 2)
        y += 0.5
    for note in report.score_notes:
        y = page.paragraph(MARGIN, y, LEFT, note, 7, 2, colour=GREY)
    if report.measurements:
        y = _heading(page, MARGIN, y + 1.5, LEFT, "Measurements")
        for name, value in report.measurements:
            page.line(MARGIN, y + 3, 70, name, 8)
            page.line(MARGIN + 72, y + 3, LEFT - 72, value, 8, bold=True)
            y += 4.6
    return y


def _score(page: Page, line: ScoreLine, y: float, name_lines: int) -> float:
    bold = line.verdict == "present"
    bar = MARGIN + 59
    end = y
    if name_lines == 1:
        page.line(MARGIN, y + 3, 57, line.name, 8, bold=bold)
    else:
        end = page.paragraph(MARGIN, y - 0.1, 57, line.name, 8, name_lines, bold=bold)
    page.box(bar, y + 0.3, 22, 3, BAR_GROUND)
    page.box(bar, y + 0.3, 22 * _unit(line.probability), 3, BAR)
    if line.threshold is not None:
        page.box(bar + 22 * _unit(line.threshold) - 0.25, y - 0.3, 0.5, 4.2, BLACK)
    page.line(bar + 24, y + 3, 8, line.text, 8, bold=bold)
    page.line(bar + 33, y + 3, LEFT - 92, line.verdict, 8, bold=bold)
    return max(y + 4.6, end + 0.8)


def _unit(part: float) -> float:
    return min(max(part, 0.0), 1.0)


def _front(page: Page, report: Report, y: float) -> float:
    x = MARGIN + LEFT + GAP
    room = INSIDE - LEFT - GAP
    y = _heading(page, x, y + 1.5, room, "From the front")
    if report.front is not None:
        _, high = page.picture(x, y, (room, FRONT_HEIGHT), report.front.image)
        y = page.paragraph(x, y + high + 0.8, room, report.front.caption, 7, 3)
    if report.front_note:
        y = page.paragraph(x, y, room, report.front_note, 7, 4, colour=GREY)
    return y


def _bscans(page: Page, report: Report, y: float) -> float:
    y = _heading(page, MARGIN, y, INSIDE, report.evidence)
    column = (INSIDE - 2 * BSCAN_GAP) / 3
    wide = 2 * column + BSCAN_GAP
    ends = [y]
    for number, picture in enumerate(report.bscans):
        if not report.roomy:
            x, top, room, most = MARGIN + number * (column + BSCAN_GAP), y, column, BSCAN_HEIGHT
        elif number == 0:
            x, top, room, most = MARGIN, y, wide, LARGE_HEIGHT
        else:  # one below the other, beside the large one
            x, top, room, most = MARGIN + wide + BSCAN_GAP, ends[-1], column, SMALL_HEIGHT
            top = y if number == 1 else top + 1
        _, high = page.picture(x, top, (room, most), picture.image)
        ends.append(page.paragraph(x, top + high + 0.8, room, picture.caption, 7, 2))
    return max(ends)


def _notes(page: Page, notes: tuple[str, ...], y: float) -> None:
    """As many as have room above the footer; the last line says how many have none."""
    if not notes:
        return
    y = _heading(page, MARGIN, y, INSIDE, "Warnings and notes")
    line = NOTE_SIZE * 1.3 / 72 * 25.4
    for index, note in enumerate(notes):
        last = index == len(notes) - 1
        if y + NOTE_LINES * line + (0 if last else line) > FOOTER - 1:
            more = f"{len(notes) - index} more are in the scores file."
            page.paragraph(MARGIN, y, INSIDE, more, NOTE_SIZE, 1)
            return
        page.line(MARGIN, y + line * 0.75, 3, "•", NOTE_SIZE)
        y = page.paragraph(MARGIN + 3.5, y, INSIDE - 3.5, note, NOTE_SIZE, NOTE_LINES)


def _footer(page: Page, report: Report) -> None:
    page.box(MARGIN, FOOTER, INSIDE, 0.3, BLACK)
    y = FOOTER + 1.2
    for text in report.model:
        y = page.paragraph(MARGIN, y, INSIDE, text, 7.5, 2, colour=GREY)
    page.paragraph(MARGIN, y, INSIDE, report.disclaimer, 7.5, 1, bold=True, colour=RED)
