"""One picture of an analysis: the key B-scans of the leading diseases, with the saliency over them."""

from __future__ import annotations

from PIL import Image

from octcube_core import drawing
from octcube_core.drawing import CAPTION_HEIGHT, HEADER_HEIGHT, MARGIN, TEXT
from octcube_core.errors import InputError
from octcube_core.exam import Exam, OCTVolume
from octcube_core.results import Analysis
from octcube_core.views import bscan_view

ROWS, COLUMNS = 3, 3
PANEL_WIDTH, PANEL_MAX_HEIGHT = 480, 480
CAPTION_WIDTH = 300  # room for the caption


def draw_montage(exam: Exam, analysis: Analysis) -> Image.Image:
    """Draw the montage: a row per target, the highest probability first, and up to three key B-scans in each.

    Every picture names the model and says that it is for research only. A target without positive evidence has
    no row; if none has any, the middle B-scan is shown.

    Raises
    ------
    InputError
        If the model has nothing to explain.
    """
    panels = _panels(exam, analysis)
    width, height = panel_size(exam.volume)
    column_width = max(width, CAPTION_WIDTH)
    size = (
        MARGIN + COLUMNS * (column_width + MARGIN),
        HEADER_HEIGHT + len(panels) * (height + CAPTION_HEIGHT + MARGIN),
    )
    canvas = drawing.blank(size, exam, analysis, [_proportions(exam.volume)])
    for row, (target, bscans) in enumerate(panels):
        for column, bscan in enumerate(bscans):
            left = MARGIN + column * (column_width + MARGIN)
            top = HEADER_HEIGHT + row * (height + CAPTION_HEIGHT + MARGIN)
            caption = (
                f"{drawing.result_text(analysis, target)}"
                f"  ·  B-scan {bscan + 1} of {exam.volume.shape[0]}"
            )
            drawing.write(canvas, (left, top + 3), caption, 15, left + column_width, TEXT)
            view = bscan_view(exam, analysis, target, bscan)
            canvas.paste(drawing.draw_view(view, (width, height)), (left, top + CAPTION_HEIGHT))
    return canvas


def panel_size(volume: OCTVolume) -> tuple[int, int]:
    """(width, height) in pixels of a B-scan in the montage; pixels are square where a spacing is unknown."""
    _, depth, width = volume.shape
    _, axial, lateral = volume.spacing_mm
    aspect = 1.0 if axial is None or lateral is None else axial / lateral
    return drawing.fitted(width, depth * aspect, (PANEL_WIDTH, PANEL_MAX_HEIGHT))


def _panels(exam: Exam, analysis: Analysis) -> list[tuple[str, list[int]]]:
    if not analysis.targets:
        raise InputError(f"{analysis.card.name} gives no scores, so there is no montage of them.")
    rows = [(target, analysis.key_bscans(target, COLUMNS)) for target in analysis.ranked_targets]
    rows = [row for row in rows if row[1]][:ROWS]
    return rows or [(analysis.ranked_targets[0], [exam.volume.shape[0] // 2])]


def _proportions(volume: OCTVolume) -> str:
    known = None not in volume.spacing_mm[1:]
    return "true proportions" if known else "spacing unknown: square pixels"
