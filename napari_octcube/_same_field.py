"""Which en-face images can lie over each other, pixel by pixel. No Qt."""

from __future__ import annotations

from octcube_core.exam import EnFaceImage, Exam


def partners(exam: Exam, image: int) -> list[int]:
    """The other images of the exam with the same pixels, in number and in millimetres.

    No file states that two images show the same field; where a scale is unknown it is not even likely.
    """
    return [
        index
        for index, other in enumerate(exam.enface)
        if index != image and not difference(exam.enface[image], other)
    ]


def difference(image: EnFaceImage, other: EnFaceImage) -> str:
    """Why two images cannot lie over each other, in a few words; empty if they can."""
    if image.shape != other.shape:
        return "another number of pixels"
    if None in (*image.spacing_mm, *other.spacing_mm):
        return "an unknown scale"
    pairs = zip(image.spacing_mm, other.spacing_mm, strict=True)
    if any(abs(a / b - 1) > 0.001 for a, b in pairs if a and b):
        return "another scale"
    return ""
