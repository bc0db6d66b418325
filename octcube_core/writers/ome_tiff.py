"""An exam as one OME-TIFF file.

The first image, 'OCT', is the volume (ZYX, PhysicalSizeX/Y/Z in micrometres where known); each further image is an
en-face image named by its modality. A map annotation of the first image, namespace 'napari-octcube/exam', holds under
the key 'exam' a JSON text of the entries of a folder's ``meta.json``, with ``enface``: [{"modality": ...,
"spacing_mm": [rows, columns]}, ...] in the order of the further images, and ``locations.image`` an index into them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import tifffile

from octcube_core import __version__
from octcube_core.errors import InputError
from octcube_core.exam import Exam, Spacing
from octcube_core.readers.ome_exam import KEY, NAMESPACE
from octcube_core.writers.facts import SYNTHETIC_EYE, exam_facts, is_synthetic
from octcube_core.writers.place import new_file
from octcube_core.writers.read_back import differences

_SUFFIXES = (".ome.tif", ".ome.tiff")
_UM_PER_MM = 1000.0
_BIG_BYTES = 2**31  # a classic TIFF ends at 4 GiB; compression may make data larger


def write_ome_tiff(exam: Exam, out: Path) -> tuple[str, ...]:
    """Write ``out``, compressed without loss, and return what differs when it is opened.

    Raises
    ------
    InputError
        If ``out`` exists, cannot be written, or does not end in .ome.tif.
    """
    if not out.name.lower().endswith(_SUFFIXES):
        raise InputError(f"An OME-TIFF file must end in .ome.tif; {out.name} does not.")
    stored = exam.volume.voxels.nbytes + sum(image.pixels.nbytes for image in exam.enface)
    with new_file(out) as partial:
        with tifffile.TiffWriter(partial, ome=True, bigtiff=stored > _BIG_BYTES) as tiff:
            _write_images(tiff, exam)
        return differences(exam, partial, out.name)
    raise AssertionError("unreachable")


def _write_images(tiff: tifffile.TiffWriter, exam: Exam) -> None:
    tiff.write(
        exam.volume.voxels,
        photometric="minisblack",
        compression="zlib",
        metadata={
            "axes": "ZYX",
            "Creator": f"napari-octcube {__version__}",
            "UUID": str(uuid4()),  # tifffile's own would hold this computer's network address
            "Name": "OCT",
            **({"Description": SYNTHETIC_EYE} if is_synthetic(exam) else {}),
            **_physical_sizes("ZYX", exam.volume.spacing_mm),
            "MapAnnotation": {"Namespace": NAMESPACE, KEY: _facts_json(exam)},
        },
    )
    for image in exam.enface:
        colour = image.pixels.ndim == 3
        tiff.write(
            image.pixels,
            photometric="rgb" if colour else "minisblack",
            compression="zlib",
            metadata={
                "axes": "YXS" if colour else "YX",
                "Name": image.modality,
                **_physical_sizes("YX", image.spacing_mm),
            },
        )


def _facts_json(exam: Exam) -> str:
    facts = exam_facts(exam)
    facts["enface"] = [
        {"modality": image.modality, "spacing_mm": list(image.spacing_mm)} for image in exam.enface
    ]
    return json.dumps(facts, allow_nan=False)


def _physical_sizes(axes: str, spacing_mm: Sequence[Spacing]) -> dict[str, Any]:
    sizes: dict[str, Any] = {}
    for axis, spacing in zip(axes, spacing_mm, strict=True):
        if spacing is not None:
            sizes[f"PhysicalSize{axis}"] = spacing * _UM_PER_MM
            sizes[f"PhysicalSize{axis}Unit"] = "µm"
    return sizes
