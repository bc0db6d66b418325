"""An exam as a folder of images: oct_000.png, ..., ir.png, faf.png, cfp.png, ... and meta.json.

Floating point values become TIFF files of 32 bits. `octcube_core.readers.folder_meta` describes meta.json.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from octcube_core.errors import InputError
from octcube_core.exam import Exam
from octcube_core.readers.folder_meta import META_FILE
from octcube_core.writers.facts import exam_facts
from octcube_core.writers.place import new_folder
from octcube_core.writers.read_back import differences


def write_folder(exam: Exam, out: Path) -> tuple[str, ...]:
    """Write the images and meta.json into ``out``, and return what differs when it is opened.

    Raises
    ------
    InputError
        If ``out`` holds something or cannot be written, or the exam has two images of one modality or colours of
        more than 8 bits, which such a folder cannot hold.
    """
    _check_enface(exam)
    with new_folder(out) as folder:
        digits = max(3, len(str(len(exam.volume.voxels) - 1)))
        for index, bscan in enumerate(exam.volume.voxels):
            _write_image(folder, f"oct_{index:0{digits}d}", bscan)
        for image in exam.enface:
            _write_image(folder, image.modality.lower(), image.pixels)
        text = json.dumps(_meta(exam), indent=1, allow_nan=False)
        (folder / META_FILE).write_text(text + "\n", encoding="utf-8")
        return differences(exam, folder, out.name)
    raise AssertionError("unreachable")


def _check_enface(exam: Exam) -> None:
    for modality, count in Counter(image.modality for image in exam.enface).items():
        if count > 1:
            raise InputError(
                f"The exam has {count} {modality} images, of which a folder holds one; export it as dicom or ome-tiff."
            )
    deep = [image for image in exam.enface if image.pixels.ndim == 3 and image.pixels.itemsize > 1]
    if deep:
        raise InputError(
            f"The {deep[0].modality} image has colours of more than 8 bits, which a folder cannot hold; export it as "
            "dicom or ome-tiff."
        )


def _meta(exam: Exam) -> dict[str, Any]:
    facts = exam_facts(exam)
    for image in exam.enface:
        facts[f"{image.modality.lower()}_spacing_mm"] = list(image.spacing_mm)
    if exam.locations is not None:
        facts["locations"]["image"] = exam.enface[exam.locations.image].modality.lower()
    return facts


def _write_image(folder: Path, name: str, pixels: NDArray[Any]) -> None:
    if pixels.dtype.kind == "f":
        tifffile.imwrite(
            folder / f"{name}.tif", pixels, photometric="minisblack", metadata=None, software=False
        )
    else:
        Image.fromarray(np.ascontiguousarray(pixels)).save(folder / f"{name}.png")
