"""The contrast that a user has set for each device, from one day to the next. No Qt, no napari."""

from __future__ import annotations

from dataclasses import astuple

from napari_octcube._contrast import Contrast
from napari_octcube._kept_numbers import KeptNumbers

_FILE = "contrast.json"


class ContrastMemory:
    """A look for each device."""

    def __init__(self) -> None:
        self._kept = KeptNumbers(_FILE, length=3)

    def get(self, device: str) -> Contrast | None:
        """What was set for a device; None if nothing was."""
        row = self._kept.get(device)
        look = None if row is None else Contrast(*row)
        return look if look is not None and look.low < look.high and look.gamma > 0 else None

    def keep(self, device: str, contrast: Contrast) -> None:
        """Remember what was set for a device."""
        self._kept.keep(device, astuple(contrast))

    def forget(self, device: str) -> None:
        """Remember nothing for a device."""
        self._kept.forget(device)

    def close(self) -> None:
        """Write now what would be written soon."""
        self._kept.close()
