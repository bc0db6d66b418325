"""Whether an exam's saliency can be a DICOM file. Touches no file and imports no pydicom: the viewer asks at once."""

from __future__ import annotations

from octcube_core.errors import InputError
from octcube_core.exam import Exam
from octcube_core.views import has_planes_across

FORMAT = "DICOM"


def why_no_dicom(exam: Exam) -> str:
    """Why the saliency of an exam cannot be a DICOM file, in one sentence; empty if it can. Touches no file."""
    if exam.format != FORMAT or exam.source is None:
        return (
            "A DICOM export of the saliency refers to the DICOM files of the exam, and this exam was read from "
            f"another format ({exam.format or 'unknown'})."
        )
    if not has_planes_across(exam):
        pattern = f"{exam.scan_pattern} scan" if exam.volume.shape[0] > 1 else "single B-scan"
        return (
            "A DICOM export of the saliency needs B-scans that lie side by side, and those of a "
            f"{pattern} do not."
        )
    if not exam.volume.is_metric:
        return "A DICOM export of the saliency needs all distances in mm, and the file does not state them."
    return ""


def check_dicom(exam: Exam) -> None:
    """Raise InputError if the saliency of an exam cannot be a DICOM file; touches no file."""
    if why := why_no_dicom(exam):
        raise InputError(why)
