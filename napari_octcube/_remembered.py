"""What the viewer remembers from one day to the next: the archive that was open. No Qt."""

from __future__ import annotations

import contextlib
from pathlib import Path

from octcube_core.retrieval.secret import configuration_folder
from octcube_core.whole_file import whole_file

_FILE = "archive.txt"


def remembered_archive() -> str:
    """The address of the archive that was open last; empty if there was none, or it is gone."""
    try:
        address = (configuration_folder() / _FILE).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return address if "://" in address or Path(address).exists() else ""


def remember_archive(address: str) -> None:
    """Note which archive is open; not a URL with a password."""
    if "://" in address and ":" in address.partition("://")[2].rpartition("@")[0]:
        return
    with contextlib.suppress(OSError):  # a convenience: nobody needs to hear that it failed
        folder = configuration_folder()
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(folder / _FILE) as partial:
            partial.write_text(f"{address}\n", encoding="utf-8")
