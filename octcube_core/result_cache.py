"""Results that were made before: by the exam's content, the model's file and how it ran. Bounded; the oldest go first.

A result is known again whatever the exam's file is called now, and forgotten as soon as the model's file changes.
Nothing in the cache tells whose an exam is.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path

from octcube_core.analysis_file import FORMAT, read_analysis, write_analysis
from octcube_core.errors import InputError
from octcube_core.exam import Exam
from octcube_core.results import Analysis

FOLDER_VARIABLE = "OCTCUBE_CACHE"
MOST_BYTES = 1_000_000_000
PREPARATION = 2  # rises when exams are brought into a model's form in another way
_SUFFIX, _HASHES = ".analysis.npz", "models.json"


def cache_folder() -> Path:
    """The folder that OCTCUBE_CACHE names, else where the system keeps such things."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named).expanduser() if named else user_cache_path("octcube", appauthor=False)


class ResultCache:
    """Analyses in a folder.

    Parameters
    ----------
    folder : Path
    most_bytes : int
        What all results together may take; 0 keeps none.
    """

    def __init__(self, folder: Path | None = None, most_bytes: int = MOST_BYTES) -> None:
        self.folder = folder or cache_folder()
        self.most_bytes = most_bytes

    def key(self, exam: Exam, model: Path, settings: str = "") -> str:
        """What a result is known by; reads the whole exam and, once for each version of it, the model's file.

        ``settings`` is whatever else decides on the result, such as the precision.

        Raises
        ------
        OSError
            If the model's file cannot be read.
        """
        words = (
            str(FORMAT),
            str(PREPARATION),
            content_hash(exam),
            self._file_hash(model),
            settings,
        )
        return hashlib.sha256("\0".join(words).encode()).hexdigest()[:32]

    def get(self, key: str) -> Analysis | None:
        """The result of a key; None if there is none, or only a damaged one."""
        path = self.folder / f"{key}{_SUFFIX}"
        if not path.exists():  # or one that is put here meanwhile would be taken for a damaged one
            return None
        try:
            analysis = read_analysis(path)
        except InputError:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            return None
        with suppress(OSError):
            os.utime(path)  # used just now
        return analysis

    def put(self, key: str, analysis: Analysis) -> None:
        """Keep a result, in the place of the oldest if there are too many; a full disk keeps nothing."""
        if self.most_bytes <= 0:
            return
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_analysis(self.folder / f"{key}{_SUFFIX}", analysis)
            self._drop_oldest()

    def resize(self, most_bytes: int) -> None:
        """Let all results together take so much from now on; the oldest go if they take more."""
        self.most_bytes = most_bytes
        self._drop_oldest()

    def clear(self) -> None:
        """Forget all results."""
        for path in self.folder.glob(f"*{_SUFFIX}"):
            with suppress(OSError):
                path.unlink()

    @property
    def size(self) -> int:
        """Bytes of all results."""
        return sum(size for _, size, _ in self._kept())

    def _kept(self) -> list[tuple[float, int, Path]]:
        found = []
        for path in self.folder.glob(f"*{_SUFFIX}"):
            with suppress(OSError):  # another viewer removed it
                state = path.stat()
                found.append((state.st_mtime, state.st_size, path))
        return sorted(found)

    def _drop_oldest(self) -> None:
        kept = self._kept()
        total = sum(size for _, size, _ in kept)
        for _, size, path in kept:
            if total <= self.most_bytes:
                return
            with suppress(OSError):
                path.unlink()
            total -= size

    def _file_hash(self, path: Path) -> str:
        """SHA-256 of a file; of an unchanged file, by its place, size and time of change, as noted before."""
        state = path.stat()
        stamp = f"{path.resolve()} {state.st_size} {state.st_mtime_ns}"
        notes = self.folder / _HASHES
        known: dict[str, str] = {}
        with suppress(OSError, ValueError):
            read = json.loads(notes.read_text(encoding="utf-8"))
            known = {str(name): str(value) for name, value in read.items()}
        if stamp not in known:
            with path.open("rb") as file:
                known[stamp] = hashlib.file_digest(file, "sha256").hexdigest()
            with suppress(OSError):
                self.folder.mkdir(parents=True, exist_ok=True)
                notes.write_text(json.dumps(known), encoding="utf-8")
        return known[stamp]


def content_hash(exam: Exam) -> str:
    """SHA-256 of everything that a result depends on: the volume, its spacing, and the en-face images."""
    digest = hashlib.sha256()
    volume = exam.volume
    facts = volume.shape, volume.voxels.dtype.str, volume.black_white, volume.spacing_mm
    digest.update(repr(facts).encode())
    for bscan in volume.voxels:  # one by one: a mapped volume is never held as a whole
        digest.update(bscan.tobytes())
    for image in exam.enface:
        digest.update(f"{image.modality} {image.pixels.shape} {image.pixels.dtype.str}".encode())
        digest.update(image.pixels.tobytes())
    digest.update("\0".join(exam.warnings).encode())  # which the result repeats
    return digest.hexdigest()
