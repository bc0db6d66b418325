"""The chain of directories of a TIFF file, one for each page, walked before a library follows it.

A damaged link may lead in circles or through bytes that are no directories, which takes libraries for ever.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from octcube_core.errors import ExamReadError

if TYPE_CHECKING:
    from PIL import Image

_PARTS = ((273, 279), (324, 325))  # tags of the places and lengths of strips and of tiles
_MAX_PAGES = 100_000
_MAX_TAGS = 1000
_FORMS = {42: ("H", 12, "I"), 43: ("Q", 20, "Q")}  # count of tags, bytes of each, link


def check_directories(path: Path, file: BinaryIO, size: int) -> None:
    """Follow the links from page to page to the end of the chain.

    Raises
    ------
    ExamReadError
        If a link leads outside the file, back, or to what is no directory.
    struct.error
        If a directory is cut short.
    """
    file.seek(0)
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    version = struct.unpack_from(order + "H", head, 2)[0]
    count_form, tag_bytes, link_form = _FORMS[version]
    (link,) = struct.unpack_from(order + link_form, head, 4 if version == 42 else 8)
    count_bytes, link_bytes = struct.calcsize(count_form), struct.calcsize(link_form)
    visited: set[int] = set()
    while link:
        if link in visited or link + count_bytes > size or len(visited) >= _MAX_PAGES:
            raise _damaged(path)
        visited.add(link)
        file.seek(link)
        (tags,) = struct.unpack(order + count_form, file.read(count_bytes))
        if not 0 < tags <= _MAX_TAGS:
            raise _damaged(path)
        file.seek(tags * tag_bytes, 1)
        (link,) = struct.unpack(order + link_form, file.read(link_bytes))


def check_strips(path: Path, image: Image.Image, size: int) -> None:
    """Refuse a page, opened by Pillow, whose strips or tiles lie outside its file: libtiff complains on stderr.

    Raises
    ------
    ExamReadError
        If a part of the page is not in the file.
    """
    tags = getattr(image, "tag_v2", {})
    for offsets, counts in _PARTS:
        places = zip(_numbers(tags.get(offsets)), _numbers(tags.get(counts)), strict=False)
        if any(offset + count > size for offset, count in places):
            raise ExamReadError(
                f"{path.name} is truncated: a part of its image lies behind its end; export or copy it again."
            )


def _numbers(value: Any) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else () if value is None else (value,)


def _damaged(path: Path) -> ExamReadError:
    return ExamReadError(
        f"{path.name} is truncated or damaged: the links between the pages of the TIFF are wrong; export or copy it "
        "again."
    )
