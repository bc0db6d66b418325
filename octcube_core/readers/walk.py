"""Folders below a folder, in natural order, whatever links, pipes and locked folders lie in the way."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from natsort import natsorted

_OF_THE_SYSTEM = {"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin"}


def walk(top: Path) -> Iterator[tuple[Path, list[Path], list[Path]]]:
    """Yield each folder with its files and its folders; the caller may remove folders to pass them over.

    Hidden names and those of operating systems are left out, and so is what is neither a file nor a folder. A folder
    that links lead to twice comes once, and links to a folder above ``top`` are not followed. A folder that may not be
    read counts as empty.

    Raises
    ------
    OSError
        If ``top`` itself cannot be read.
    """
    waiting = [top]
    seen = {_identity(parent.stat()) for parent in top.resolve().parents}
    while waiting:
        folder = waiting.pop()
        try:
            identity = _identity(folder.stat())
            if identity in seen:
                continue
            seen.add(identity)
            content = natsorted(folder.iterdir(), key=lambda item: item.name)
        except OSError:
            if folder == top:
                raise
            continue
        files, folders = _sorted_out(content)
        yield folder, files, folders
        waiting.extend(reversed(folders))


def _sorted_out(content: list[Path]) -> tuple[list[Path], list[Path]]:
    files: list[Path] = []
    folders: list[Path] = []
    for item in content:
        if item.name.startswith(".") or item.name.lower() in _OF_THE_SYSTEM:
            continue
        try:
            mode = item.stat().st_mode
        except OSError:  # a link to nowhere
            continue
        if stat.S_ISDIR(mode):
            folders.append(item)
        elif stat.S_ISREG(mode):
            files.append(item)
    return files, folders


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
