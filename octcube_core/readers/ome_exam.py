"""What an OME-TIFF states of an exam, beyond the voxels of its first image.

Files written by this package hold the volume as the first OME image and the en-face images as further ones, named by
their modality. All other facts are JSON text in the map annotation of the namespace 'napari-octcube/exam', under the
key 'exam': the entries of ``meta.json`` (see `folder_meta`), and ``enface``, a list with {"modality": ...,
"spacing_mm": [rows, columns]} for each further image; the image of ``locations`` is an index into that list.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from numpy.typing import NDArray

from octcube_core.errors import ExamReadError
from octcube_core.exam import EnFaceImage, Exam, Modality, OCTVolume, Spacing
from octcube_core.readers.folder_meta import MODALITIES, FolderMeta, meta_from, plausible_enface
from octcube_core.readers.tiff_spacing import ome_spacing

NAMESPACE = "napari-octcube/exam"
KEY = "exam"

_MAX_PLANES = 100_000
_MAX_XML = 64 * 1024**2


@dataclass(frozen=True)
class OmeExam:
    """What the XML states; nothing by default.

    Attributes
    ----------
    meta : FolderMeta
    images : tuple of int
        Which of the file's images are en-face images.
    modalities, spacings
        Of each of them.
    warnings : tuple of str
    """

    meta: FolderMeta = field(default_factory=FolderMeta)
    images: tuple[int, ...] = ()
    modalities: tuple[Modality, ...] = ()
    spacings: tuple[tuple[Spacing, Spacing], ...] = ()
    warnings: tuple[str, ...] = ()

    def volume_spacing(
        self, physical_size: tuple[Spacing, Spacing, Spacing]
    ) -> tuple[Spacing, Spacing, Spacing]:
        """Spacing in mm: that of the annotation, which is exact, else the OME PhysicalSize."""
        z, y, x = physical_size
        if self.meta.scan_pattern not in (None, "raster"):
            z = None
        stated = self.meta.spacing_mm
        if self.meta.doubted_spacing:
            return stated
        return stated if any(value is not None for value in stated) else (z, y, x)

    def exam(
        self,
        path: Path,
        volume: OCTVolume,
        pictures: list[NDArray[Any]],
        kind: str,
        warnings: tuple[str, ...],
    ) -> Exam:
        """Put the exam together."""
        meta = self.meta
        return Exam(
            volume,
            tuple(map(EnFaceImage, pictures, self.modalities, self.spacings)),
            meta.locations_on(self.modalities),
            meta.laterality,
            meta.scan_pattern,
            meta.device,
            source=path,
            format=kind,
            warnings=warnings,
        )


def check_ome(path: Path, xml: str) -> None:
    """Refuse XML that names files elsewhere or claims more images than any exam has.

    Raises
    ------
    ExamReadError
    """
    if len(xml) > _MAX_XML:
        raise ExamReadError(f"{path.name} has OME metadata too large for an exam; export it again.")
    root = ElementTree.fromstring(xml)
    for element in root.iter():
        name = element.get("FileName")
        if name is not None and (Path(name).name != name or "\\" in name):
            raise ExamReadError(
                f"{path.name} names a file outside its folder; put the files of the OME-TIFF into one folder and "
                "export it again."
            )
        if name and name != path.name and not (path.parent / name).is_file():
            raise ExamReadError(
                f"{path.name} needs a further file of the same OME-TIFF, which is missing; copy all its files."
            )
    planes = sum(_planes(pixels) for pixels in root.iterfind(".//{*}Pixels"))
    if planes > _MAX_PLANES:
        raise ExamReadError(f"{path.name} claims to hold {planes:,} pages; it is damaged.")


def ome_exam(path: Path, xml: str, images: int) -> OmeExam:
    """Facts of the annotation of this package, or of the images' names where it is missing.

    Parameters
    ----------
    path : Path
    xml : str
        OME-XML of the file.
    images : int
        Number of images in it.

    Raises
    ------
    ExamReadError
        If the annotation has wrong values or does not fit the images.
    """
    root = ElementTree.fromstring(xml)
    stated = _annotation(root)
    if stated is not None:
        return _annotated(path, stated, images)
    found: list[tuple[int, Modality, tuple[Spacing, Spacing]]] = []
    doubts: tuple[str, ...] = ()
    for index, image in enumerate(root.iterfind("{*}Image")):
        modality = MODALITIES.get((image.get("Name") or "").strip().lower())
        if 0 < index < images and modality is not None:
            _, rows, columns = ome_spacing(image.find("{*}Pixels"))
            spacing, doubt = plausible_enface(modality, (rows, columns))
            doubts += doubt
            found.append((index, modality, spacing))
    shown = 1 + len(found)
    if shown == images:
        notes = ""
    elif found:
        notes = f"The file holds {images} images; {shown} of them are shown."
    else:
        notes = f"The file holds {images} images; the first is shown."
    indices, modalities, spacings = zip(*found, strict=True) if found else ((), (), ())
    warnings = (*((notes,) if notes else ()), *doubts)
    return OmeExam(FolderMeta(), indices, modalities, spacings, warnings)


def significant_bits(xml: str) -> int | None:
    """Bits of a sample that the first image of a file uses, if it says."""
    pixels = ElementTree.fromstring(xml).find(".//{*}Pixels")
    stated = "" if pixels is None else pixels.get("SignificantBits", "")
    return int(stated) if stated.isdecimal() and 1 <= int(stated) <= 16 else None


def _annotation(root: ElementTree.Element) -> str | None:
    for annotation in root.iterfind(".//{*}MapAnnotation"):
        if annotation.get("Namespace") == NAMESPACE:
            for entry in annotation.iterfind("{*}Value/{*}M"):
                if entry.get("K") == KEY:
                    return entry.text or ""
    return None


def _annotated(path: Path, text: str, images: int) -> OmeExam:
    name = f"The annotation of {path.name}"
    entries = json.loads(text)
    enface = entries.pop("enface", None) or [] if isinstance(entries, dict) else None
    if not isinstance(enface, list) or not all(isinstance(image, dict) for image in enface):
        raise ExamReadError(f"{name} is not of the form that this program writes; export it again.")
    meta = meta_from(entries, name)
    if len(enface) != images - 1:
        raise ExamReadError(
            f"{path.name} states {len(enface)} en-face images but holds {images - 1}; export or copy it again."
        )
    modalities: list[Modality] = []
    doubts: tuple[str, ...] = ()
    spacings: list[tuple[Spacing, Spacing]] = []
    for image in enface:
        modality = MODALITIES.get(str(image.get("modality")).lower())
        if modality is None:
            raise ExamReadError(
                f"{name} has an en-face image of unknown modality; export it again."
            )
        key = f"{modality.lower()}_spacing_mm"
        picture = meta_from({key: image.get("spacing_mm")}, name)
        spacings.append(picture.enface_spacing_mm(modality))
        doubts += picture.warnings
        modalities.append(modality)
    warnings = (*meta.warnings, *doubts)
    return OmeExam(meta, tuple(range(1, images)), tuple(modalities), tuple(spacings), warnings)


def _planes(pixels: ElementTree.Element) -> int:
    planes = 1
    for axis in "ZCT":
        size = pixels.get(f"Size{axis}", "1")
        planes *= max(1, int(size)) if size.isdecimal() else 1
    return planes
