"""Values of a DICOM header: never an exception, never a word about them on the terminal."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from octcube_core.readers.dicom_private import GROUP
from octcube_core.readers.failures import reading
from octcube_core.readers.quiet import quiet_warnings

_SIMPLE_VR = frozenset(
    {"AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UI"}
)


_QUIET: ContextVar[bool] = ContextVar("reading DICOM", default=False)


class _Discreet(logging.Filter):
    """Lets nothing through while one of our files is read; other users of pydicom keep its log."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not _QUIET.get()


for _name in ("pydicom", "pydicom.pixels.decoders.base", "pydicom.pixels.utils"):
    logging.getLogger(_name).addFilter(_Discreet())


@contextmanager
def quiet() -> Iterator[None]:
    """Silence pydicom's warnings and log, which quote values and so may tell a patient's name."""
    before = _QUIET.set(True)
    try:
        with quiet_warnings():
            yield
    finally:
        _QUIET.reset(before)


@contextmanager
def reading_dicom(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong with a DICOM file into one sentence, and nothing else into words."""
    with reading(path, "a DICOM file"), quiet():
        yield


def has_private(dataset: Dataset) -> bool:
    """Whether a header may hold the block of `dicom_private`, which pydicom is slow to look for."""
    return any(tag >> 16 == GROUP for tag in dataset.keys())  # noqa: SIM118  # iterating decodes


def stated_text(dataset: Dataset, keyword: str) -> str:
    """Value of an element as text; '' if it is missing or cannot be decoded; a backslash parts several values."""
    if (simple := _simple_text(dataset, keyword)) is not None:
        return simple
    try:
        with quiet():  # whoever asks, wherever the file was opened
            value = dataset.get(keyword)
    except Exception:  # pydicom decodes when asked, and raises whatever the bytes provoke
        return ""
    return "" if value is None else str(value).strip("\0 ")


def _simple_text(dataset: Dataset, keyword: str) -> str | None:
    """Text of an element whose bytes need no more than ASCII; pydicom takes a hundred times longer."""
    tag = tag_for_keyword(keyword)
    raw: Any = None if tag is None or tag not in dataset else dataset.get_item(tag)
    if raw is None:
        return ""
    if not isinstance(raw, RawDataElement):
        return None
    vr = raw.VR or dictionary_VR(raw.tag)
    if not raw.value:
        return ""
    if vr == "US" and len(raw.value) == 2:
        return str(int.from_bytes(raw.value, "little" if raw.is_little_endian else "big"))
    if vr not in _SIMPLE_VR or not raw.value.isascii() or b"\x1b" in raw.value:
        return None
    return raw.value.decode("ascii").strip("\0 ")


def stated_items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Items of a header's sequence; none if it is missing or damaged."""
    try:
        with quiet():
            value = dataset.get(keyword)
        return [item for item in value if isinstance(item, Dataset)] if value else []
    except Exception:
        return []


def stated_numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...]:
    """The values of a numeric element if there are ``count``, else ()."""
    try:
        with quiet():
            value = dataset.get(keyword)
        found = tuple(float(part) for part in ([value] if count == 1 else value))
    except Exception:
        return ()
    return found if len(found) == count else ()
