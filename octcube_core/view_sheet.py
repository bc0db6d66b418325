"""One picture of a target from all sides: key B-scan, slow-scan plane, en face, importance curve, fundus images.

The planes are laid out like the sides of a box and share one scale: the slow-scan plane beside the B-scan, the en-face
view below it, the curve below the slow-scan plane and along the same B-scans. Ticks at their edges show where the
other planes cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from octcube_core import drawing
from octcube_core.colours import overlay_colours
from octcube_core.drawing import (
    BACKGROUND,
    CAPTION_HEIGHT,
    FAINT,
    HEADER_HEIGHT,
    MARGIN,
    TEXT,
    Size,
    draw_view,
)
from octcube_core.exam import Exam
from octcube_core.fundus_views import image_view, localizer_view
from octcube_core.results import Analysis
from octcube_core.views import (
    View,
    bscan_view,
    eight_bits,
    en_face_view,
    has_planes_across,
    peak_voxel,
    slow_scan_view,
)

PLANE_MAX = 520, 400, 520  # pixels along width, depth and across the B-scans
LONE_MAX = 800, 500, 800  # the same where there are no planes across
IMAGE_BOX, IMAGES_PER_COLUMN = (400, 400), 2
CURVE_WIDTH_MIN, CURVE_HEIGHT = 300, 300
CAPTION_WIDTH = 280  # room for a caption
HEADER = HEADER_HEIGHT + 24
TICK, TICK_WIDTH, TICK_COLOUR = 10, 3, (90, 220, 255)
AXIS = (75, 75, 80)
LABEL_HEIGHT = 18
EN_FACE_PERCENTILES = (0.5, 99.5)  # a projection has little contrast
EN_FACE_BRIGHTNESS = 0.75  # colours show on grey, not on white

_CURVE_COLOUR = tuple(int(255 * part) for part in overlay_colours(np.array(0.6))[:3])


@dataclass(frozen=True)
class _Panel:
    picture: Image.Image
    caption: str


@dataclass(frozen=True)
class _Box:
    """Pixels along the axes of the volume, and which planes are to scale."""

    width: int
    depth: int
    across: int
    bscan_to_scale: bool
    slow_scan_to_scale: bool
    en_face_to_scale: bool


def draw_view_sheet(exam: Exam, analysis: Analysis, target: str) -> Image.Image:
    """Draw the views of a target.

    Where the B-scans do not lie side by side there are no planes across them, and for a single one no curve. Of the
    fundus there are the image on which the B-scans are placed, and every image that the model looked at.

    Raises
    ------
    InputError
        If the model does not explain this target, or the analysis is of another exam.
    """
    columns = _planes(exam, analysis, target)
    images = list(_images(exam, analysis, target))
    columns += [images[i : i + IMAGES_PER_COLUMN] for i in range(0, len(images), IMAGES_PER_COLUMN)]
    widths = [max(CAPTION_WIDTH, *(panel.picture.width for panel in column)) for column in columns]
    heights = [
        sum(CAPTION_HEIGHT + panel.picture.height + MARGIN for panel in column)
        for column in columns
    ]
    size = MARGIN + sum(width + MARGIN for width in widths), HEADER + max(heights)
    canvas = drawing.blank(size, exam, analysis, [])
    line = f"{drawing.result_text(analysis, target)}  ·  {analysis.name_of(target)}"
    if not analysis.saliency[analysis.index(target)].any():
        line += "  ·  no positive evidence in the volume"
    drawing.write(canvas, (MARGIN, HEADER_HEIGHT - 4), line, 18, size[0] - MARGIN, TEXT)
    left = MARGIN
    for column, width in zip(columns, widths, strict=True):
        top = HEADER
        for panel in column:
            drawing.write(canvas, (left, top + 4), panel.caption, 14, left + width, FAINT)
            canvas.paste(panel.picture, (left, top + CAPTION_HEIGHT))
            top += CAPTION_HEIGHT + panel.picture.height + MARGIN
        left += width + MARGIN
    return canvas


def _planes(exam: Exam, analysis: Analysis, target: str) -> list[list[_Panel]]:
    """The box's sides: B-scan above en face, slow-scan plane above the curve."""
    bscans, _, width = exam.volume.shape
    keys = analysis.key_bscans(target)
    key = keys[0] if keys else bscans // 2
    box = _box(exam)
    picture = draw_view(bscan_view(exam, analysis, target, key), (box.width, box.depth))
    caption = f"B-scan {key + 1} of {bscans}{_scale(box.bscan_to_scale)}"
    columns = [[_Panel(picture, caption)]]
    if not has_planes_across(exam):
        if bscans > 1:
            columns[0].append(_curve(analysis, target, keys, box.width))
        return columns
    peak = peak_voxel(analysis, target)
    ascan = width // 2 if peak is None else peak[2]
    at_ascan, at_key = (ascan + 0.5) / width, (key + 0.5) / bscans
    _tick(picture, at_ascan, None)
    plane = draw_view(slow_scan_view(exam, analysis, target, ascan), (box.across, box.depth))
    _tick(plane, at_key, None)
    front = _stretched(en_face_view(exam, analysis, target))
    upwards = _runs_upwards(exam)
    if upwards:
        front = replace(front, picture=front.picture[::-1], saliency=front.saliency[::-1])
    seen = draw_view(front, (box.width, box.across))
    _tick(seen, at_ascan, 1 - at_key if upwards else at_key)
    end = "bottom" if upwards else "top"
    columns[0].append(
        _Panel(
            seen,
            f"En face, maximum over depth, B-scan 1 at the {end}{_scale(box.en_face_to_scale)}",
        )
    )
    caption = f"Slow-scan plane at A-scan {ascan + 1} of {width}{_scale(box.slow_scan_to_scale)}"
    columns.append([_Panel(plane, caption), _curve(analysis, target, keys, box.across)])
    return columns


def _images(exam: Exam, analysis: Analysis, target: str) -> Iterator[_Panel]:
    if exam.locations is not None:
        place = exam.enface[exam.locations.image].modality
        view = localizer_view(exam, analysis, target)
        if view.saliency.any():  # else there is none, or it lies outside the image
            yield _image_panel(view, f"Saliency of the OCT where it lies on the {place} image")
    index = analysis.index(target)
    for modality, found in analysis.enface.items():
        peak = "scaled per image" if found.maps[index].any() else "no positive evidence"
        view = image_view(exam, analysis, target, modality)
        yield _image_panel(view, f"Saliency of the {modality} image, {peak}")


def _image_panel(view: View, caption: str) -> _Panel:
    rows, columns = view.saliency.shape
    size = drawing.fitted(columns, rows * (view.pixel_aspect or 1.0), IMAGE_BOX)
    return _Panel(draw_view(view, size), caption + _scale(view.pixel_aspect is not None))


def _box(exam: Exam) -> _Box:
    """One scale for all sides; square pixels in B-scans of unknown spacing, and then a square plane en face."""
    bscans, depth, width = exam.volume.shape
    between, axial, lateral = exam.volume.spacing_mm
    along, down, across = float(width), float(depth), float(width)  # in A-scans' distances
    if axial is not None and lateral is not None:
        down *= axial / lateral
    if between is not None and lateral is not None:
        across = bscans * between / lateral
    most = PLANE_MAX if has_planes_across(exam) else LONE_MAX
    factor = min(size / extent for size, extent in zip(most, (along, down, across), strict=True))
    across_pixels, depth_pixels, width_pixels = (
        max(1, round(factor * extent)) for extent in (across, down, along)
    )
    return _Box(
        width_pixels,
        depth_pixels,
        across_pixels,
        bscan_to_scale=axial is not None and lateral is not None,
        slow_scan_to_scale=exam.volume.is_metric,
        en_face_to_scale=between is not None and lateral is not None,
    )


def _scale(known: bool) -> str:
    return "" if known else "  ·  not to scale"


def _runs_upwards(exam: Exam) -> bool:
    """Whether later B-scans lie higher on the image they are placed on, as Heidelberg's do."""
    if exam.locations is None:
        return False
    first, last = exam.locations.polylines[0], exam.locations.polylines[-1]
    row, column = last.mean(axis=0) - first.mean(axis=0)
    return bool(row < 0 and abs(row) >= abs(column))


def _stretched(view: View) -> View:
    low, high = np.percentile(view.picture, EN_FACE_PERCENTILES)
    white = low + max(high - low, 1.0) / EN_FACE_BRIGHTNESS
    return replace(view, picture=eight_bits(view.picture, low, white))


def _tick(picture: Image.Image, across: float | None, down: float | None) -> None:
    """Mark where another plane cuts, as parts of width and height, at the edges: the picture stays free."""
    draw = ImageDraw.Draw(picture)
    width, height = picture.size
    if across is not None:
        x = across * width
        for top, end in ((0, TICK), (height - TICK, height)):
            draw.line([(x, top), (x, end)], TICK_COLOUR, TICK_WIDTH)
    if down is not None:
        y = down * height
        for left, end in ((0, TICK), (width - TICK, width)):
            draw.line([(left, y), (end, y)], TICK_COLOUR, TICK_WIDTH)


def _curve(analysis: Analysis, target: str, keys: list[int], width: int) -> _Panel:
    """Importance of every B-scan, from 0 at the bottom; the key B-scans are marked with their numbers."""
    importance = analysis.bscan_importance(target)
    size: Size = max(width, CURVE_WIDTH_MIN), CURVE_HEIGHT
    picture = Image.new("RGB", size, BACKGROUND)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(12)
    top, bottom = LABEL_HEIGHT + 4, size[1] - LABEL_HEIGHT
    peak = float(importance.max())
    x = (np.arange(len(importance)) + 0.5) / len(importance) * size[0]
    y = bottom - (bottom - top) * importance / (peak or 1.0)
    for height in (top, bottom):
        draw.line([(0, height), (size[0], height)], AXIS)
    taken: list[tuple[float, float]] = []
    for key in keys:  # most salient first: its label has the first choice of room
        draw.line([(x[key], top), (x[key], bottom)], AXIS)
        label = str(key + 1)
        wide = draw.textlength(label, font=font)
        start = float(np.clip(x[key] - wide / 2, 0, size[0] - wide))
        if all(start + wide + 4 < other or start > end + 4 for other, end in taken):
            draw.text((start, 2), label, TEXT, font)
            taken.append((start, start + wide))
    draw.line([*zip(x.tolist(), y.tolist(), strict=True)], _CURVE_COLOUR, 2)
    for key in keys:
        draw.circle((x[key], y[key]), 4, TEXT)
    draw.text((0, bottom + 2), "1", FAINT, font)
    last = str(len(importance))
    draw.text((size[0] - draw.textlength(last, font=font), bottom + 2), last, FAINT, font)
    return _Panel(picture, f"Mean saliency of each B-scan, 0 to {peak:.2g}")
