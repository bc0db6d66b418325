"""What can go wrong or be missing in a file, in words for the person who opened it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from octcube_core.errors import ExamReadError, OCTCubeError
from octcube_core.exam import ScanPattern, Spacing

NO_SPACING = "The file states no voxel spacing; sizes are shown in pixels."
COLOURED_BSCANS = "The B-scans are coloured; they are shown by their luminance."

MAX_VOLUME_BYTES = 16 * 1024**3  # a damaged or hostile header must not exhaust the memory
MAX_COMPRESSION = 50  # lossy OCT reaches 30
UNSUSPICIOUS_BYTES = 256 * 1024**2  # a small volume may be blank, which compresses to nothing
# Larger volumes stay on disk, where the format allows, and are paged in as they are shown.
MEMORY_MAP_BYTES = 512 * 1024**2

_AXIS_SPACINGS = ("distance between B-scans", "axial spacing", "lateral spacing")


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a library raises on a bad file into one `ExamReadError`.

    Parameters
    ----------
    path : Path
        The file being read.
    kind : str
        What it is taken for, with its article, e.g. 'a TIFF file'.

    Raises
    ------
    ExamReadError
        For any error but one about the program itself (KeyboardInterrupt and the like).
    """
    # `from None`: libraries quote the offending value, which in DICOM may be a patient's name.
    try:
        yield
    except OCTCubeError:
        raise
    except PermissionError:
        raise ExamReadError(
            f"{path.name} may not be read; ask for permission to read it or copy it elsewhere."
        ) from None
    except MemoryError:
        raise ExamReadError(
            f"{path.name} does not fit into this computer's memory; export a smaller volume."
        ) from None
    except Exception:
        raise ExamReadError(
            f"{path.name} cannot be read as {kind}: it is truncated, damaged or of another type; "
            "export or copy it again."
        ) from None


def check_volume_bytes(
    path: Path, shape: Sequence[int], itemsize: int, stored: int | None = None
) -> None:
    """Refuse a volume that no OCT device makes before memory is taken for it.

    Parameters
    ----------
    path : Path
        The file, for the message.
    shape, itemsize
        What its header claims.
    stored : int, optional
        Bytes in which the voxels are stored, where they may be compressed.

    Raises
    ------
    ExamReadError
        If the volume is larger than any, or so much larger than its file that no compression of a scan explains it.
    """
    claimed = math.prod(int(size) for size in shape) * itemsize
    bomb = stored is not None and claimed > max(UNSUSPICIOUS_BYTES, MAX_COMPRESSION * stored)
    if claimed > MAX_VOLUME_BYTES or bomb:
        raise ExamReadError(
            f"{path.name} claims to hold {claimed / 1024**3:.1f} GiB of voxels, more than such a file can hold; it is "
            "damaged or no OCT file."
        )


def spacing_warnings(
    spacing: Sequence[Spacing], bscans: int, pattern: ScanPattern | None = None
) -> tuple[str, ...]:
    """Sentence about unknown spacings (bscan, depth, width), or nothing when all are known.

    A single B-scan has no distance to the next one, and neither have those of radial and circle scans.
    """
    apart = bscans > 1 and pattern in ("raster", None)
    if all(value is None for value in spacing):
        return (NO_SPACING,)
    unknown = [
        name
        for axis, (name, value) in enumerate(zip(_AXIS_SPACINGS, spacing, strict=True))
        if value is None and not (axis == 0 and not apart)
    ]
    if not unknown:
        return ()
    along = "it" if len(unknown) == 1 else "them"
    stated = " and ".join(unknown)
    return (f"The file does not state the {stated}; sizes along {along} are in pixels.",)
