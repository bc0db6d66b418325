"""How much memory this process holds and has held."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def resident_bytes() -> int:
    """Memory held now."""
    return _stated("VmRSS")


def peak_bytes() -> int:
    """The most that was held since the program started; what getrusage says counts the parent's memory, too."""
    return _stated("VmHWM")


def _stated(name: str) -> int:
    status = Path("/proc/self/status")
    if not status.exists():  # no Linux: the peak for both
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    lines = status.read_text(encoding="ascii").splitlines()
    line = next(line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024
