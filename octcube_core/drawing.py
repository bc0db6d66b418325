"""What the montage and the view sheets are drawn with: views in the saliency's colours, lines of text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from octcube_core.colours import overlay_colours
from octcube_core.exam import Exam
from octcube_core.results import DISCLAIMER, Analysis, DiseaseScore
from octcube_core.views import View

MARGIN, CAPTION_HEIGHT, HEADER_HEIGHT = 12, 26, 64
BACKGROUND, TEXT, FAINT = (18, 18, 20), (235, 235, 235), (165, 165, 170)
MAX_ALPHA = 0.65
SUPERSCRIPTS = str.maketrans("²³", "23")  # Pillow's own font has none

Size = tuple[int, int]
Colour = tuple[int, int, int]


def draw_view(view: View, size: Size) -> Image.Image:
    """A view as (width, height) pixels, the saliency over the picture."""
    picture = Image.fromarray(view.picture).convert("RGB").resize(size, Image.Resampling.LANCZOS)
    saliency = Image.fromarray(view.saliency).resize(size, Image.Resampling.BILINEAR)
    overlay = overlay_colours(np.asarray(saliency))
    alpha = MAX_ALPHA * overlay[..., 3:]
    blended = np.asarray(picture, np.float64) * (1 - alpha) + 255 * overlay[..., :3] * alpha
    return Image.fromarray(np.rint(blended).astype(np.uint8))


def fitted(width: float, height: float, box: Size) -> Size:
    """The largest whole size within a box that has these proportions."""
    factor = min(box[0] / width, box[1] / height)
    return max(1, round(width * factor)), max(1, round(height * factor))


def blank(size: Size, exam: Exam, analysis: Analysis, facts: Sequence[str]) -> Image.Image:
    """An empty picture with its header: the model, the disclaimer, what exam and colours these are."""
    canvas = Image.new("RGB", size, BACKGROUND)
    title = f"{analysis.card.title}  ·  {DISCLAIMER}"
    write(canvas, (MARGIN, 8), title, 20, size[0] - MARGIN, TEXT)
    about = [
        *(["synthetic eye"] if exam.format == "synthetic" else []),
        *([exam.laterality] if exam.laterality is not None else []),
        *facts,
        f"colour: {analysis.method} at {analysis.layer}, scaled per volume",
        *(note.split(":")[0].rstrip(".") for note in analysis.run_notes),
    ]
    write(canvas, (MARGIN, 36), "  ·  ".join(about), 14, size[0] - MARGIN, FAINT)
    return canvas


def result_text(analysis: Analysis, target: str) -> str:
    """What the model says of a target, such as 'AMD 0.45 (present)' or 'OCT~IR 0.312'."""
    result = analysis.result_of(target)
    if isinstance(result, DiseaseScore):
        verdict = "present" if result.present else "absent"
        return f"{target} {result.probability:.2f} ({verdict})"
    return f"{target} {result.text}"


def write(
    canvas: Image.Image, position: Size, text: str, size: int, right: int, colour: Colour
) -> None:
    """Write a line of text, smaller if it would pass ``right``, cut if it still does."""
    draw = ImageDraw.Draw(canvas)
    text = text.translate(SUPERSCRIPTS)
    font = ImageFont.load_default(size)
    while size > 8 and position[0] + draw.textlength(text, font=font) > right:
        size -= 1
        font = ImageFont.load_default(size)
    while text and position[0] + draw.textlength(text, font=font) > right:
        text = text[:-2].rstrip() + "…" if len(text) > 2 else ""
    draw.text(position, text, fill=colour, font=font)
