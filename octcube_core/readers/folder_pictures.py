"""Which pictures of a folder are the B-scans of one exam, which are volumes, which are neither."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from octcube_core.readers.folder_meta import MODALITIES
from octcube_core.readers.quiet import quiet_warnings
from octcube_core.readers.tiff_directories import check_directories

_OUR_RESULTS = {"saliency.ome.tif", "montage.png"}  # beside scores.json
_STACKABLE = {".tif", ".tiff"}
PICTURES = {".png", ".jpg", ".jpeg", ".bmp", *_STACKABLE}
_NUMBERED = re.compile(r"(.*?)\d+(\D*)", re.DOTALL)
_MAX_XML_BYTES = 64 * 1024**2
_IMAGE_DESCRIPTION = 270
_IMAGEJ_STACK = re.compile(r"^images=([2-9]|\d{2,})\s*$", re.MULTILINE)


@dataclass(frozen=True)
class SortedPictures:
    """Pictures of one folder: B-scans of one exam, volumes of their own, and what is passed over."""

    bscans: Sequence[Path] = ()
    stacks: Sequence[Path] = ()
    others: Sequence[Path] = ()


def without_results(files: Sequence[Path]) -> list[Path]:
    """Leave out what an analysis has written into the same folder."""
    if all(file.name != "scores.json" for file in files):
        return list(files)
    return [file for file in files if file.name not in _OUR_RESULTS]


def sort_pictures(
    pictures: Sequence[Path], exports: Sequence[Path], previews: bool
) -> SortedPictures:
    """Sort the pictures of a folder.

    Parameters
    ----------
    pictures : sequence of Path
    exports : sequence of Path
        Heidelberg XML files in the folder, whose images are theirs.
    previews : bool
        Whether the folder holds exam files, so that pictures are previews of them unless they are numbered.
    """
    owned = _named_in(exports, pictures)
    volumes = {file for file in pictures if file.suffix.lower() in _STACKABLE and is_stack(file)}
    fundus = [file for file in pictures if file.stem.lower() in MODALITIES and file not in volumes]
    left = [file for file in pictures if file not in owned and file not in fundus]
    stacks = [file for file in left if file in volumes]
    if not left and [file.stem.lower() for file in fundus] == ["oct"]:
        # With no other B-scan it is one, not a projection of them.
        return SortedPictures(bscans=fundus)
    single = [file for file in left if file not in set(stacks)]
    # One stack among many images is a mistake for the folder's reader to name; one image beside stacks is a preview.
    # Beside an XML export, images that it does not name are strays of it, not a scan of their own.
    if not exports and len(single) > len(stacks) and (not previews or _is_series(single)):
        return SortedPictures(bscans=left)
    return SortedPictures(stacks=stacks, others=[*single, *fundus])


def is_stack(file: Path) -> bool:
    """Whether a TIFF file holds several images, by its headers."""
    from PIL import Image

    try:
        with quiet_warnings(), Image.open(file) as image:
            described = str(getattr(image, "tag_v2", {}).get(_IMAGE_DESCRIPTION, ""))
            if described.startswith("ImageJ=") and _IMAGEJ_STACK.search(described):
                return True
            image.seek(1)
    except EOFError:
        return False
    except Exception:
        return _is_stack_to_tifffile(file)
    return True


def _is_stack_to_tifffile(file: Path) -> bool:
    """The same for what Pillow cannot open, such as floating-point volumes of odd depth."""
    import tifffile

    try:
        with file.open("rb") as opened:
            # tifffile follows links in circles.
            check_directories(file, opened, file.stat().st_size)
        with tifffile.TiffFile(file) as tiff:
            return len(tiff.pages) > 1
    except Exception:
        return False


def _is_series(files: Sequence[Path]) -> bool:
    parts = [_NUMBERED.fullmatch(file.stem) for file in files]
    named = [(part[1], part[2]) for part in parts if part]
    return len(files) > 1 and len(named) == len(files) and len(set(named)) == 1


def _named_in(exports: Sequence[Path], pictures: Sequence[Path]) -> set[Path]:
    """The pictures whose names stand in any of the XML files."""
    owned: set[Path] = set()
    for export in exports:
        try:
            if export.stat().st_size > _MAX_XML_BYTES:
                return set(pictures)
            content = export.read_bytes().lower()
        except OSError:
            return set(pictures)
        owned |= {file for file in pictures if any(name in content for name in _encoded(file.name))}
    return owned


def _encoded(name: str) -> set[bytes]:
    return {name.encode(code, "replace").lower() for code in ("utf-8", "utf-16-le", "latin-1")}
