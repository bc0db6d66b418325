"""What is known of an exam, in words."""

from __future__ import annotations

from napari_octcube._layers import UM_PER_MM, bscan_is_metric
from octcube_core.exam import Exam

EYES = {"OD": "OD (right)", "OS": "OS (left)", None: "side unknown"}
NOT_LOCATED = "The file does not say where the B-scans lie."
OUTSIDE = "The file says that the B-scans lie outside of this image."
COUNTED = "The B-scan in view, counted from 1; napari's own slider counts from 0."
NO_ENFACE = "The file holds no en-face image."


def eye(exam: Exam) -> str:
    """Which eye, and whether it is one of a person at all."""
    return EYES[exam.laterality] + (", synthetic" if exam.format == "synthetic" else "")


def scan(exam: Exam) -> str:
    """Number and size of the B-scans, and the pattern they form."""
    bscans, depth, width = exam.volume.shape
    text = f"{bscans} B-scan{'s' if bscans != 1 else ''} of {width} × {depth} px"
    return f"{text}, {exam.scan_pattern}" if exam.scan_pattern else text


def spacing(exam: Exam) -> str:
    """Distances between voxels, each known or not."""
    z, y, x = (
        None if value is None else f"{value * UM_PER_MM:.3g} µm" for value in exam.volume.spacing_mm
    )
    if z is y is x is None:
        return "spacing unknown"
    if z and y and x:
        return " × ".join((z[:-3], y[:-3], x))
    parts = [f"{y or 'unknown'} in depth", f"{x or 'unknown'} in width"]
    if z or exam.volume.shape[0] > 1:
        # the B-scans of a star or of circles do not lie beside each other
        none = "unknown" if exam.scan_pattern in ("raster", None) else "none"
        parts.append(f"{z or none} between B-scans")
    text = ", ".join(parts)
    return text if bscan_is_metric(exam) else f"{text}; so shown in pixels"


def images(exam: Exam) -> str:
    """The OCT and each en-face image with its size."""
    texts = [f"{name} {_size(exam, index)}" for index, name in enumerate(image_names(exam))]
    return ", ".join(("OCT", *texts))


def _size(exam: Exam, index: int) -> str:
    rows, columns = exam.enface[index].shape
    return f"{columns} × {rows}"


def image_names(exam: Exam) -> tuple[str, ...]:
    """The modality of each en-face image, with a number where there are several of one."""
    names: list[str] = []
    for image in exam.enface:
        earlier = sum(other.modality == image.modality for other in exam.enface[: len(names)])
        names.append(f"{image.modality} {earlier + 1}" if earlier else image.modality)
    return tuple(names)


def places(exam: Exam) -> str:
    """Where it is known where the B-scans lie."""
    if exam.locations is None:
        return "not stated by the file"
    return f"on the {image_names(exam)[exam.locations.image]} image, see Localizer"


def position(exam: Exam, bscan: int) -> str:
    """Number of a B-scan, from 1, and its distance from the first if that is known."""
    bscans, spacing = exam.volume.shape[0], exam.volume.spacing_mm[0]
    number = f"{bscan + 1} of {bscans}"
    return number if spacing is None or bscans == 1 else f"{number}, at {bscan * spacing:.2f} mm"
