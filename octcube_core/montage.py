"""One picture of an analysis: the key B-scans of the leading diseases, with the saliency over them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from octcube_core.colours import overlay_colours
from octcube_core.exam import Exam, OCTVolume
from octcube_core.results import DISCLAIMER, Analysis, DiseaseScore

ROWS, COLUMNS = 3, 3
PANEL_WIDTH, PANEL_MAX_HEIGHT = 480, 480
MARGIN, CAPTION_HEIGHT, HEADER_HEIGHT = 12, 26, 64
BACKGROUND, TEXT, FAINT = (18, 18, 20), (235, 235, 235), (165, 165, 170)
MAX_ALPHA = 0.65


def saliency_of_bscan(analysis: Analysis, abbreviation: str, bscan: int) -> NDArray[np.float64]:
    """Saliency on every pixel of a B-scan, shape (depth, width), linear between the token centres."""
    tokens = analysis.saliency[analysis.index(abbreviation)].astype(np.float64)
    grid = analysis.grid
    along_z, along_y, along_x = (
        _linear_weights(
            positions, grid.origin_voxels[axis], grid.step_voxels[axis], grid.shape[axis]
        )
        for axis, positions in enumerate(
            (np.array([bscan]), *(np.arange(size) for size in grid.volume_shape[1:]))
        )
    )
    plane = np.tensordot(along_z[0], tokens, axes=1)
    result: NDArray[np.float64] = along_y @ plane @ along_x.T
    return result


def draw_bscan(exam: Exam, analysis: Analysis, abbreviation: str, bscan: int) -> Image.Image:
    """A B-scan with a disease's saliency over it, of the eye's true proportions where the spacing is known."""
    grey = _grey(exam.volume, bscan)[..., None]
    overlay = overlay_colours(saliency_of_bscan(analysis, abbreviation, bscan))
    alpha = MAX_ALPHA * overlay[..., 3:]
    blended = grey * (1 - alpha) + 255 * overlay[..., :3] * alpha
    picture = Image.fromarray(np.rint(blended).astype(np.uint8))
    return picture.resize(panel_size(exam.volume), Image.Resampling.LANCZOS)


def panel_size(volume: OCTVolume) -> tuple[int, int]:
    """(width, height) in pixels of a B-scan in the montage; pixels are square where a spacing is unknown."""
    _, depth, width = volume.shape
    _, axial, lateral = volume.spacing_mm
    ratio = depth / width
    if axial is not None and lateral is not None:
        ratio *= axial / lateral
    panel_width = min(PANEL_WIDTH, PANEL_MAX_HEIGHT / ratio)
    return max(1, round(panel_width)), max(1, round(panel_width * ratio))


def draw_montage(exam: Exam, analysis: Analysis) -> Image.Image:
    """Draw the montage: a row per disease, the highest probability first, and up to three key B-scans in each.

    Every picture names the model and says that it is for research only. A disease without positive evidence has
    no row; if none has any, the middle B-scan is shown.
    """
    panels = _panels(exam, analysis)
    width, height = panel_size(exam.volume)
    width = max(width, 300)  # room for the caption
    size = (
        MARGIN + COLUMNS * (width + MARGIN),
        HEADER_HEIGHT + len(panels) * (height + CAPTION_HEIGHT + MARGIN),
    )
    canvas = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    _write(draw, (MARGIN, 8), f"{analysis.card.title}  ·  {DISCLAIMER}", 20, size[0], TEXT)
    _write(draw, (MARGIN, 36), _proportions(exam, analysis.method), 14, size[0], FAINT)
    for row, (score, bscans) in enumerate(panels):
        for column, bscan in enumerate(bscans):
            left = MARGIN + column * (width + MARGIN)
            top = HEADER_HEIGHT + row * (height + CAPTION_HEIGHT + MARGIN)
            _write(draw, (left, top + 3), _caption(exam, score, bscan), 15, left + width, TEXT)
            picture = draw_bscan(exam, analysis, score.abbreviation, bscan)
            canvas.paste(picture, (left, top + CAPTION_HEIGHT))
    return canvas


def _panels(exam: Exam, analysis: Analysis) -> list[tuple[DiseaseScore, list[int]]]:
    ranked = sorted(analysis.scores, key=lambda score: score.probability, reverse=True)
    rows = [(score, analysis.key_bscans(score.abbreviation, COLUMNS)) for score in ranked]
    rows = [row for row in rows if row[1]][:ROWS]
    return rows or [(ranked[0], [exam.volume.shape[0] // 2])]


def _caption(exam: Exam, score: DiseaseScore, bscan: int) -> str:
    return (
        f"{score.abbreviation} {score.probability:.2f} ({'present' if score.present else 'absent'})"
        f"  ·  B-scan {bscan + 1} of {exam.volume.shape[0]}"
    )


def _proportions(exam: Exam, method: str) -> str:
    """The eye, the proportions of the picture, and what the colour is."""
    _, axial, lateral = exam.volume.spacing_mm
    known = axial is not None and lateral is not None
    facts = ["true proportions" if known else "spacing unknown: square pixels"]
    if exam.laterality is not None:
        facts.insert(0, exam.laterality)
    if exam.format == "synthetic":
        facts.insert(0, "synthetic eye")
    return "  ·  ".join([*facts, f"colour: {method}, scaled per volume"])


def _grey(volume: OCTVolume, bscan: int) -> NDArray[np.float64]:
    black, white = volume.black_white
    grey: NDArray[np.float64] = volume.voxels[bscan].astype(np.float64)
    return np.clip((grey - black) / ((white - black) or 1.0), 0.0, 1.0) * 255.0


def _linear_weights(
    positions: NDArray[Any], origin: float, step: float, tokens: int
) -> NDArray[np.float64]:
    """Weights (position, token) of linear interpolation between token centres, constant beyond the outer ones."""
    token = np.clip((positions - origin) / step, 0, tokens - 1)
    distance = np.abs(token[:, None] - np.arange(tokens)[None, :])
    return np.clip(1.0 - distance, 0.0, None)


def _write(
    draw: ImageDraw.ImageDraw,
    position: tuple[int, int],
    text: str,
    size: int,
    right: int,
    colour: tuple[int, int, int],
) -> None:
    """Write a line of text, smaller if it would pass ``right``."""
    font = ImageFont.load_default(size)
    while size > 8 and position[0] + draw.textlength(text, font=font) > right:
        size -= 1
        font = ImageFont.load_default(size)
    draw.text(position, text, fill=colour, font=font)
