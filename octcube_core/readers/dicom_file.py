"""A DICOM file without its pixels: header, functional groups, and where the pixel data lie.

pydicom reads the header; `dicom_elements` walks the functional groups. Nothing is read beyond the file's end, whatever
lengths it states, and a deflated file is inflated only up to what a scan can hold.
"""

from __future__ import annotations

import mmap
import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import IO, Any, cast

from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from octcube_core.errors import ExamReadError
from octcube_core.exam import Laterality, Patient
from octcube_core.readers.dicom_elements import (
    FRAME_ANATOMY,
    FRAME_GROUPS,
    FRAME_LATERALITY,
    SHARED_GROUPS,
    Buffer,
    Encoding,
    Item,
    PixelElement,
    Walk,
    items,
    text,
)
from octcube_core.readers.dicom_values import quiet, reading_dicom, stated_text
from octcube_core.readers.failures import MAX_COMPRESSION, UNSUSPICIOUS_BYTES

OPT = uid.OphthalmicTomographyImageStorage
EN_FACE_OCT = uid.OphthalmicOpticalCoherenceTomographyEnFaceImageStorage
PHOTOGRAPHS = frozenset(
    {
        uid.OphthalmicPhotography8BitImageStorage,
        uid.OphthalmicPhotography16BitImageStorage,
        uid.WideFieldOphthalmicPhotographyStereographicProjectionImageStorage,
        uid.WideFieldOphthalmicPhotography3DCoordinatesImageStorage,
        EN_FACE_OCT,
    }
)
BOTH_EYES = "The file names both eyes; which one it shows is unknown."

_DEFLATED = uid.DeflatedExplicitVRLittleEndian
_MOST_INFLATED = 512 * 1024**2
_SUMMARY_BYTES = 1024**2
_MEDIA_CLASS, _SYNTAX = 0x00020002, 0x00020010
_FIRST_GROUP_TAG = 0x52000000  # functional groups and pixel data lie behind it
_LAST_SUMMARY_TAG = 0x00280011  # Columns
_EYES: dict[str, Laterality] = {"R": "OD", "L": "OS"}


@dataclass(frozen=True, eq=False)
class DicomFile:
    """What a file states before its pixel data.

    Attributes
    ----------
    head : Dataset
        Elements before the functional groups.
    rest : Item
        Elements between these and the pixel data.
    pixels : PixelElement or None
        Where the pixel data lie in ``inflated``, or in the file if that is None.
    """

    path: Path
    syntax: uid.UID
    encoding: Encoding
    head: Dataset
    rest: Item = field(default_factory=dict)
    pixels: PixelElement | None = None
    inflated: bytes | None = None
    _texts: dict[str, str] = field(default_factory=dict)

    @cached_property
    def shared(self) -> Item:
        """The Shared Functional Groups; empty if there are none."""
        groups = items(self.rest, SHARED_GROUPS)
        return groups[0] if groups else {}

    @cached_property
    def frame_groups(self) -> list[Item]:
        """The Per-frame Functional Groups; empty if there are none."""
        return items(self.rest, FRAME_GROUPS)

    def text(self, keyword: str) -> str:
        """Value of a header element as text; '' if it is missing or damaged."""
        if keyword not in self._texts:  # pydicom is slow to decode
            self._texts[keyword] = stated_text(self.head, keyword)
        return self._texts[keyword]

    def whole(self, keyword: str, default: int) -> int:
        """Value of a header element that is a whole number.

        Raises
        ------
        ExamReadError
            If it is something else.
        """
        stated = self.text(keyword)
        try:
            return int(stated) if stated else default
        except ValueError:
            raise ExamReadError(
                f"{self.path.name} states no valid number for the DICOM element {keyword}; it is damaged: export it "
                "again."
            ) from None

    @property
    def sop_class(self) -> str:
        """SOP Class UID."""
        return self.text("SOPClassUID")

    @property
    def instance(self) -> str:
        """SOP Instance UID."""
        return self.text("SOPInstanceUID")

    @property
    def device(self) -> str | None:
        """Manufacturer and model."""
        parts = (self.text("Manufacturer"), self.text("ManufacturerModelName"))
        known = [part for part in parts if part.lower() not in ("", "unknown")]
        return " ".join(known) or None

    def laterality(self) -> tuple[Laterality | None, tuple[str, ...]]:
        """The eye, and a warning if the file contradicts itself."""
        eyes = self._eyes
        if len(eyes) > 1:
            return None, (BOTH_EYES,)
        return next(iter(eyes), None), ()

    @cached_property
    def _eyes(self) -> frozenset[Laterality]:
        stated = [self.text("ImageLaterality"), self.text("Laterality")]
        for group in (self.shared, *self.frame_groups):
            for anatomy in items(group, FRAME_ANATOMY):
                stated.append(text(anatomy, FRAME_LATERALITY))
        return frozenset(_EYES[side] for side in stated if side in _EYES)

    def patient(self) -> Patient:
        """Who and when."""

        def date(*keywords: str) -> str | None:
            found = next((value for keyword in keywords if (value := self.text(keyword))), None)
            if found is None or not found[:8].isdigit() or len(found) < 8:
                return found
            return f"{found[:4]}-{found[4:6]}-{found[6:8]}"

        # A file without its dates still has to hold some.
        dated = self.text("LongitudinalTemporalInformationModified") != "REMOVED"
        when = ("AcquisitionDateTime", "AcquisitionDate", "ContentDate", "StudyDate")
        return Patient(
            self.text("PatientName") or None,
            self.text("PatientID") or None,
            date("PatientBirthDate"),
            date(*when) if dated else None,
        )


def read_file(path: Path) -> DicomFile:
    """Read everything before the pixel data.

    Raises
    ------
    ExamReadError
        If the file is damaged, or inflates to more than a scan can hold.
    """
    with reading_dicom(path), _opened(path) as buffer:
        syntax, start = _meta(buffer)
        encoding = _encoding(syntax, buffer, start)
        inflated = _inflate(path, buffer, start) if syntax == _DEFLATED else None
        source: Buffer = buffer if inflated is None else inflated
        stream = _stream(source, start if inflated is None else 0)
        head = read_dataset(
            stream,
            encoding.implicit,
            encoding.little,
            stop_when=lambda tag, _vr, _length: tag >= _FIRST_GROUP_TAG,
        )
        rest, pixels = Walk(source, encoding).top_level(stream.tell())
        return DicomFile(path, syntax, encoding, head, rest, pixels, inflated)
    raise AssertionError("unreachable")


def read_summary(path: Path) -> DicomFile | None:
    """Read only what tells files apart (class, patient, study, eye, size); None if it is no such file."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return None  # a pipe would block
        with path.open("rb") as file:
            if file.read(132)[128:] != b"DICM" and path.suffix.lower() not in (".dcm", ".dicom"):
                return None
        with quiet(), _opened(path) as buffer:
            if text(_stated_meta(buffer).values, _MEDIA_CLASS) in PHOTOGRAPHS:
                return read_file(path)  # its header is short, and its image will be wanted
            syntax, start = _meta(buffer)
            encoding = _encoding(syntax, buffer, start)
            source = _inflate_head(buffer, start) if syntax == _DEFLATED else buffer
            head = read_dataset(
                _stream(source, 0 if syntax == _DEFLATED else start),
                encoding.implicit,
                encoding.little,
                stop_when=lambda tag, _vr, _length: tag > _LAST_SUMMARY_TAG,
            )
        found = DicomFile(path, syntax, encoding, head)
        return found if found.sop_class else None
    except Exception:  # whatever is wrong with a neighbour does not concern the file being read
        return None


@contextmanager
def _opened(path: Path) -> Iterator[mmap.mmap]:
    # Unlike a file, a map gives no more than there is, so lying lengths cost no memory.
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer,
    ):
        yield buffer


def _stream(source: Buffer, position: int) -> Any:
    stream = BytesIO(source) if isinstance(source, bytes) else source
    stream.seek(position)
    return stream


@dataclass(frozen=True)
class _Meta:
    values: Item
    end: int


def _stated_meta(buffer: mmap.mmap) -> _Meta:
    """File meta information by the book; empty if it is not so."""
    try:
        values, end = Walk(buffer, Encoding(implicit=False, little=True)).group(132, 0x0002)
    except (ValueError, struct.error):
        return _Meta({}, 0)
    return _Meta(values if buffer[128:132] == b"DICM" else {}, end)


def _meta(buffer: mmap.mmap) -> tuple[uid.UID, int]:
    """Transfer syntax ('' if not stated) and where the data set starts."""
    stated = _stated_meta(buffer)
    if _SYNTAX in stated.values:
        return uid.UID(text(stated.values, _SYNTAX)), stated.end
    buffer.seek(132 if buffer[128:132] == b"DICM" else 0)
    meta = read_dataset(
        cast(IO[bytes], buffer),  # type: ignore[arg-type]  # a map is read like a file
        False,
        True,
        stop_when=lambda tag, _vr, _length: tag >> 16 != 2,
    )
    return uid.UID(stated_text(meta, "TransferSyntaxUID")), buffer.tell()


def _encoding(syntax: uid.UID, buffer: Buffer, start: int) -> Encoding:
    if syntax == _DEFLATED:
        return Encoding(implicit=False, little=True)
    vr = buffer[start + 4 : start + 6]  # what is stored counts more than what the syntax promises
    explicit = len(vr) == 2 and all(65 <= letter <= 90 for letter in vr)
    return Encoding(not explicit, little=syntax != uid.ExplicitVRBigEndian)


def _inflate_head(buffer: mmap.mmap, start: int) -> bytes:
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(buffer[start:], _SUMMARY_BYTES)


def _inflate(path: Path, buffer: mmap.mmap, start: int) -> bytes:
    most = min(_MOST_INFLATED, max(UNSUSPICIOUS_BYTES, MAX_COMPRESSION * (len(buffer) - start)))
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    data = inflater.decompress(buffer[start:], most)
    if inflater.unconsumed_tail:
        raise ExamReadError(
            f"{path.name} inflates to more than {most // 1024**2} MB, more than such a file can hold; it is damaged "
            "or no OCT file."
        )
    if not inflater.eof:
        raise ExamReadError(f"{path.name} is truncated; export or copy it again.")
    return data
