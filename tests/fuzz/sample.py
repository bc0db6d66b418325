"""One valid exam on disk that the fuzzer damages, and the eye that all of them show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

SHAPE = (3, 64, 48)
SPACING_MM = (0.12, 0.004, 0.012)

# Who the planted patient is; none of it may be said by an error, a warning or a log.
NAME, PATIENT_ID, BIRTH_DATE = "Zebedee^Quagga", "PID-993311", "19431127"
IDENTITY = ("quagga", "zebedee", "993311", "19431127", "1943-11-27")

MAIN, ASIDE = 4, 1  # how often a file is the one that is damaged


@dataclass(frozen=True)
class Sample:
    """A valid exam.

    Attributes
    ----------
    format : str
        Key of the format on the command line.
    root : Path
        Folder that holds all that belongs to it.
    opened : str
        What the reader is given, below ``root``; empty for the folder itself.
    victims : dict of file below ``root`` to weight
        The files that may be damaged.
    options : dict
        Options of the reader.
    exams : tuple of str
        Digests of the volumes that the undamaged files give; empty if they give none.
    noisy : bool
        Whether no B-scan of theirs has an end of one value.
    real : bool
        Whether it is a real file from outside the repository.
    """

    format: str
    root: Path
    opened: str
    victims: dict[str, int]
    options: dict[str, object] = field(default_factory=dict)
    exams: tuple[str, ...] = ()
    noisy: bool = False
    real: bool = False

    def to_json(self) -> str:
        return json.dumps(asdict(self) | {"root": str(self.root)})

    @classmethod
    def from_json(cls, text: str) -> Sample:
        stored = json.loads(text)
        stored["root"], stored["exams"] = Path(stored["root"]), tuple(stored["exams"])
        return cls(**stored)


def of_files(
    kind: str, root: Path, opened: str, aside: Sequence[str] = (), **options: object
) -> Sample:
    """A sample whose opened file is damaged mostly, and those beside it now and then."""
    victims = {opened: MAIN} | dict.fromkeys(aside, ASIDE)
    return Sample(kind, root, opened, victims, options)


def of_folder(kind: str, root: Path) -> Sample:
    """A sample that is opened as a folder, every file of which may be damaged."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return Sample(kind, root, "", {str(file.relative_to(root)): 1 for file in files})


def voxels(dtype: type = np.uint8) -> np.ndarray:
    """A small B-scan stack with layers and noise, shape ``SHAPE``, with no two slices or blocks alike."""
    noise = np.random.default_rng(5).integers(1, 60, SHAPE)
    rows = np.arange(SHAPE[1])[None, :, None]
    layers = 180 * np.exp(-(((rows - 30 - 4 * np.arange(SHAPE[0])[:, None, None]) / 9.0) ** 2))
    stack = (noise + layers).astype(np.uint8)
    if np.dtype(dtype).kind == "f":
        return (stack / 255).astype(dtype)
    return stack.astype(dtype) * (257 if dtype is np.uint16 else 1)


def fundus() -> np.ndarray:
    """A fundus image of 40 x 50."""
    return np.random.default_rng(6).integers(30, 220, (40, 50), dtype=np.uint8)
