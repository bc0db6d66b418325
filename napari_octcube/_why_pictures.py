"""Pictures of why two eyes are alike: each with the saliency of the similarity over it. No Qt."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from octcube_core.drawing import draw_view, fitted
from octcube_core.exam import Exam
from octcube_core.fundus_views import image_view
from octcube_core.results import Analysis
from octcube_core.views import View, bscan_view, en_face_view, has_planes_across

TARGET = "similarity"
BOX = (460, 300)


@dataclass(frozen=True, eq=False)
class WhyPicture:
    """A picture and what it shows."""

    picture: Image.Image
    caption: str


def why_pictures(exam: Exam, analysis: Analysis) -> list[WhyPicture]:
    """The image that was compared; of a volume the key B-scan, and the view from the front where there is one."""
    if analysis.enface:
        return [
            WhyPicture(_drawn(image_view(exam, analysis, TARGET, modality)), modality)
            for modality in analysis.enface
        ]
    bscans = analysis.key_bscans(TARGET, 1) or [exam.volume.shape[0] // 2]
    caption = f"B-scan {bscans[0] + 1} of {exam.volume.shape[0]}"
    pictures = [WhyPicture(_drawn(bscan_view(exam, analysis, TARGET, bscans[0])), caption)]
    if has_planes_across(exam):
        front = _drawn(en_face_view(exam, analysis, TARGET))
        pictures.append(WhyPicture(front, "From the front (maximum over depth)"))
    return pictures


def _drawn(view: View) -> Image.Image:
    rows, columns = view.saliency.shape
    aspect = view.pixel_aspect or 1.0
    # A B-scan in true proportions may be a flat strip.
    return draw_view(view, fitted(columns, max(rows * aspect, columns / 3), BOX))
