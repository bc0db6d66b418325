"""Libraries that only some formats need."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from octcube_core.errors import ExamReadError


def optional_library(name: str, path: Path) -> ModuleType:
    """Import a library, or say which extra of this package brings it.

    Raises
    ------
    ExamReadError
        If it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ExamReadError(
            f"{path.name} needs the library {name}, which is not installed; run: pip install 'napari-octcube[formats]'."
        ) from None
