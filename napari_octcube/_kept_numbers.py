"""The contrast that a user has set for each device, kept from one day to the next. No Qt, no napari."""

from __future__ import annotations

import contextlib
import json
import math
import threading
from dataclasses import astuple
from pathlib import Path

from napari_octcube._contrast import Contrast
from octcube_core.retrieval.secret import configuration_folder
from octcube_core.whole_file import whole_file

DELAY_S = 1.0  # a slider that is dragged sets a hundred values
_FILE = "contrast.json"


class ContrastMemory:
    """A look for each device; the file is written on a thread, a moment after the last change."""

    def __init__(self) -> None:
        self._file = configuration_folder() / _FILE
        self._lock = threading.Lock()
        self._looks = _read(self._file)
        self._changed: dict[str, Contrast | None] = {}  # since the file was written
        self._timer: threading.Timer | None = None

    def get(self, device: str) -> Contrast | None:
        """What was set for a device; None if nothing was."""
        return self._looks.get(device)

    def keep(self, device: str, contrast: Contrast) -> None:
        """Remember what was set for a device."""
        self._looks[device] = contrast
        self._write_soon(device, contrast)

    def forget(self, device: str) -> None:
        """Remember nothing for a device."""
        if self._looks.pop(device, None) is not None:
            self._write_soon(device, None)

    def write(self) -> None:
        """Write what has changed, if anything has; another window may have changed other devices."""
        with self._lock:
            changed, self._changed = self._changed, {}
            if changed:
                kept = {**_read(self._file), **changed}
                _write(self._file, {name: look for name, look in kept.items() if look is not None})

    def close(self) -> None:
        """Write now what would be written soon."""
        if self._timer is not None:
            self._timer.cancel()
        self.write()

    def _write_soon(self, device: str, contrast: Contrast | None) -> None:
        with self._lock:
            self._changed[device] = contrast
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(DELAY_S, self.write)
        self._timer.daemon = True
        self._timer.start()


def _read(file: Path) -> dict[str, Contrast]:
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
        looks = {str(device): Contrast(*map(float, row)) for device, row in rows.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # there is none yet, or somebody else wrote it
    return {device: look for device, look in looks.items() if _is_possible(look)}


def _is_possible(look: Contrast) -> bool:
    return all(map(math.isfinite, astuple(look))) and look.low < look.high and look.gamma > 0


def _write(file: Path, looks: dict[str, Contrast]) -> None:
    with contextlib.suppress(OSError):  # a convenience: nobody needs to hear that it failed
        file.parent.mkdir(parents=True, exist_ok=True)
        rows = {
            device: [round(value, 4) for value in astuple(look)] for device, look in looks.items()
        }
        with whole_file(file) as partial:
            partial.write_text(json.dumps(rows, indent=1), encoding="utf-8")
