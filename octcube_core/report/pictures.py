"""The pictures of a report: key B-scans and the view from the front, with the evidence for one target over them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from octcube_core import drawing
from octcube_core.exam import BScanLocations, Exam
from octcube_core.fundus_views import localizer_view
from octcube_core.results import Analysis
from octcube_core.views import View, bscan_view, eight_bits, en_face_view, has_planes_across

BSCAN_BOX = (800, 560)  # pixels: 60 mm at 340 dots per inch
# Height over width below which a B-scan is stretched, as devices do: a strip shows nothing.
FLATTEST = 0.6
FRONT_BOX, MOST_PIXELS = (1000, 1000), 2000
LINE_COLOUR, NUMBER_SIZE = (90, 220, 255), 44
PERCENTILES, BRIGHTNESS = (0.5, 99.5), 0.75  # as on the view sheets: colours show on grey
KEY_BSCANS = 3


@dataclass(frozen=True, eq=False)
class ReportPicture:
    """A picture and what it shows."""

    image: Image.Image
    caption: str


def key_bscan_pictures(exam: Exam, analysis: Analysis, target: str) -> tuple[ReportPicture, ...]:
    """Up to three B-scans with most evidence first, or the middle one where there is none."""
    bscans = exam.volume.shape[0]
    keys = analysis.key_bscans(target, KEY_BSCANS)
    pictures = []
    for key in keys or [bscans // 2]:
        view = bscan_view(exam, analysis, target, key)
        depth, width = view.saliency.shape
        true = depth * (view.pixel_aspect or 1.0) / width
        shown = max(true, FLATTEST)
        picture = drawing.draw_view(view, drawing.fitted(1.0, shown, BSCAN_BOX))
        caption = f"B-scan {key + 1} of {bscans}"
        if view.pixel_aspect is None:
            caption += ", not to scale"
        elif shown > true * 1.05:
            caption += f", depth stretched × {shown / true:.1f}"
        pictures.append(ReportPicture(picture, caption))
    return tuple(pictures)


def front_picture(exam: Exam, analysis: Analysis, target: str) -> tuple[ReportPicture | None, str]:
    """The heat map on the fundus image, else on the volume seen from the front; else None, and why."""
    keys = analysis.key_bscans(target, KEY_BSCANS)
    if exam.locations is not None:
        exam, locations = _with_smaller_image(exam, exam.locations)
        view = localizer_view(exam, analysis, target)
        if view.saliency.any() or not keys:
            lines = [locations.polylines[key] for key in keys]
            place = exam.enface[locations.image].modality
            caption = f"Heat map on the {place} image. Blue: the key B-scans shown below."
            return _front(view, keys, lines, caption), ""
        why = "The B-scans lie outside of the fundus image"
    else:
        why = "The file does not say where the B-scans lie on a fundus image"
    if not has_planes_across(exam):
        pattern = f"{exam.scan_pattern} scan" if exam.volume.shape[0] > 1 else "single B-scan"
        return None, f"{why}, and a {pattern} has no view from the front: there is no heat map."
    view = _stretched(en_face_view(exam, analysis, target))
    width = exam.volume.shape[2]
    lines = [np.array([[key, 0.0], [key, width - 1.0]]) for key in keys]
    caption = "Heat map on the OCT seen from the front, B-scan 1 at the top. Blue: the key B-scans."
    return _front(view, keys, lines, caption), f"{why}."


def _with_smaller_image(exam: Exam, locations: BScanLocations) -> tuple[Exam, BScanLocations]:
    """An exam whose B-scans lie on an image of no more pixels than can be printed; a photograph may have 24 million."""
    image = exam.enface[locations.image]
    step = -(-max(image.shape) // MOST_PIXELS)
    if step == 1:
        return exam, locations
    first = step // 2
    down, across = (None if value is None else value * step for value in image.spacing_mm)
    smaller = replace(
        image, pixels=image.pixels[first::step, first::step], spacing_mm=(down, across)
    )
    lines = tuple((line - first) / step for line in locations.polylines)
    placed = BScanLocations(lines, 0)
    return replace(exam, enface=(smaller,), locations=placed), placed


def _front(
    view: View, keys: list[int], lines: list[NDArray[np.float64]], caption: str
) -> ReportPicture:
    rows, columns = view.saliency.shape
    # A few B-scans far apart, of unknown distance, would make a flat strip.
    height = rows * view.pixel_aspect if view.pixel_aspect else max(rows, columns / 2)
    size = drawing.fitted(columns, max(height, columns / 4), FRONT_BOX)
    picture = drawing.draw_view(view, size)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(NUMBER_SIZE)
    scale = np.array([size[1] / rows, size[0] / columns])
    taken: list[float] = []
    for key, line in zip(keys, lines, strict=True):
        points = [(float(x), float(y)) for y, x in (line + 0.5) * scale]
        draw.line(points, LINE_COLOUR, 4)
        x, y = min(points)
        label = str(key + 1)
        left = x - draw.textlength(label, font=font) - 10
        # Before the line; if it begins at the edge, above it, or below where there is nothing above.
        above = y - 1.2 * NUMBER_SIZE if y > 1.2 * NUMBER_SIZE else y + 2
        top = above if left < 0 else y - 0.6 * NUMBER_SIZE
        left = max(4.0, left)
        top = float(np.clip(top, 0, max(0, size[1] - 1.2 * NUMBER_SIZE)))
        if all(abs(top - other) > NUMBER_SIZE for other in taken):
            draw.text((left, top), label, LINE_COLOUR, font, stroke_width=1, stroke_fill=(0, 0, 0))
            taken.append(top)
    if view.pixel_aspect is None:
        caption += " Not to scale."
    return ReportPicture(picture, caption)


def _stretched(view: View) -> View:
    low, high = np.percentile(view.picture, PERCENTILES)
    white = low + max(high - low, 1.0) / BRIGHTNESS
    return replace(view, picture=eight_bits(view.picture, low, white))
