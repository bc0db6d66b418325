"""The tree of a Heidelberg XML export, within bounds that no export reaches and a hostile file would."""

from __future__ import annotations

import codecs
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

from octcube_core.errors import ExamReadError

_MAX_BYTES = 64 * 1024**2  # an export of 200 B-scans with all layers has 20 MB
_MAX_ELEMENTS = 200_000
_MAX_DEPTH = 64


class _Refused(Exception):
    pass


class _BoundedBuilder(TreeBuilder):
    """Builds no tree that is huge or deep, and none with a document type: those declare entities."""

    def __init__(self) -> None:
        super().__init__()
        self._elements = self._depth = 0

    def start(self, tag: str, attrs: dict[str, str], /) -> Element:
        self._elements += 1
        self._depth += 1
        if self._elements > _MAX_ELEMENTS or self._depth > _MAX_DEPTH:
            raise _Refused
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Element:
        self._depth -= 1
        return super().end(tag)

    def doctype(self, *_names: str | None) -> None:
        raise _Refused


def read_tree(path: Path) -> Element:
    """Root element of an export, HEDX.

    Raises
    ------
    ExamReadError
        If it is truncated, not an export, or larger or deeper than any.
    """
    if path.stat().st_size > _MAX_BYTES:
        raise _no_export(path)
    parser = XMLParser(target=_BoundedBuilder())
    try:
        parser.feed(_decoded(path.read_bytes()))
        root = parser.close()
    except _Refused:
        raise _no_export(path) from None
    except ParseError:
        raise ExamReadError(
            f"{path.name} is truncated or damaged: it is no complete XML file; export or copy it again."
        ) from None
    if not isinstance(root, Element) or root.tag != "HEDX":
        raise _no_export(path)
    return root


def _decoded(data: bytes) -> str:
    """Text of the file by what it holds: exports declare one encoding and use another."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace")
    if data.startswith((b"<\0", b"\0<")):
        return data.decode("utf-16-le" if data[1] == 0 else "utf-16-be", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _no_export(path: Path) -> ExamReadError:
    return ExamReadError(
        f"{path.name} is no Heidelberg XML export; open the .xml that HEYEX wrote beside its images."
    )
