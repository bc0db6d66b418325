"""Writers of Heidelberg's formats for the tests, by the public descriptions and not by our readers."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from octcube_core.errors import ExamReadError
from octcube_core.exam import Exam
from octcube_core.readers import read_exam

PATIENT = ("Quagga", "Zebedee", "PID-993311")
TICKS_2024 = 133_536_816_000_000_000  # noon of 2024-02-29 in 100 ns since 1601


def read_or_refuse(path: Path) -> Exam | None:
    """Read a file that may be damaged; if it is refused, then in one sentence."""
    try:
        return read_exam(path)
    except ExamReadError as error:
        text = str(error)
    assert text.endswith(".")
    assert "\n" not in text
    return None


def refusal(path: Path) -> str:
    """The sentence with which a file is refused."""
    try:
        exam = read_exam(path)
    except ExamReadError as error:
        text = str(error)
    else:
        raise AssertionError(f"was read as {exam.volume.shape}")
    assert text.endswith(".")
    assert "\n" not in text
    return text


@dataclass
class Scan:
    """A scan to be written; lines are (x, y, x, y) in mm: start and end, or start and centre of a circle."""

    values: np.ndarray  # reflectivity, (bscans, depth, width)
    lines: list[tuple[float, float, float, float]]
    pattern: int = 3
    eye: str = "OD"
    spacing: tuple[float, float, float] = (0.12, 0.0039, 0.0115)
    fundus: np.ndarray = field(
        default_factory=lambda: np.arange(80 * 96).reshape(80, 96).astype(np.uint8)
    )
    fundus_mm: tuple[float, float] = (0.0118, 0.0121)  # rows, columns


def as_stored(values: np.ndarray) -> np.ndarray:
    """With the 10 bits of mantissa that devices keep, as those of the real circle scan."""
    return (values.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)


def raster(bscans=5, depth=24, width=40, seed=1, **changes) -> Scan:
    """Lines from below upwards, as a Spectralis scans."""
    values = as_stored(np.random.default_rng(seed).random((bscans, depth, width), np.float32) ** 4)
    length = width * 0.0115
    lines = [(0.2, 0.8 - 0.12 * row, 0.2 + length, 0.8 - 0.12 * row) for row in range(bscans)]
    return Scan(values, lines, **changes)


def radial(bscans=6, **changes) -> Scan:
    scan = raster(bscans, pattern=5, **changes)
    angles = np.pi * np.arange(bscans) / bscans
    x, y = 0.23 * np.cos(angles), 0.23 * np.sin(angles)
    scan.lines = list(zip(0.5 - x, 0.45 - y, 0.5 + x, 0.45 + y, strict=True))
    return scan


def circle(eye="OD", **changes) -> Scan:
    """From the temporal side of the disc."""
    scan = raster(1, pattern=2, eye=eye, **changes)
    radius = 40 * 0.0115 / (2 * np.pi)
    scan.lines = [(0.5 - radius if eye == "OD" else 0.5 + radius, 0.45, 0.5, 0.45)]
    return scan


def vol_bytes(scan: Scan, stated_header_bytes=None, layers=3, tail=b"", grid=0) -> bytes:
    bscans, depth, width = scan.values.shape
    header_bytes = 256 + 4 * width * layers
    rows, columns = scan.fundus.shape
    head = struct.pack(
        "<12sIIIdddIIddId4sQiI16s16sI24sdI24sdIIII34s",
        b"HSF-OCT-103",
        width,
        bscans,
        depth,
        scan.spacing[2],
        scan.spacing[0],
        scan.spacing[1],
        columns,
        rows,
        scan.fundus_mm[1],
        scan.fundus_mm[0],
        30,
        -1.5,
        scan.eye.encode(),
        TICKS_2024,
        scan.pattern,
        stated_header_bytes or header_bytes,
        b"4711.0",
        b"",
        17,
        PATIENT[2].encode(),
        16_037.0,  # 1943-11-27
        3,
        b"VISIT",
        45_351.0,
        grid,
        0,
        0,
        0,
        b"",
    )
    parts = [head.ljust(2048, b"\0"), scan.fundus.tobytes()]
    for values, line in zip(scan.values, scan.lines, strict=True):
        bscan = struct.pack(
            "<12sIddddIIfI6f", b"HSF-BS-103", header_bytes, *line, layers, 256, 30.0, 0, *[0.0] * 6
        )
        parts += [bscan.ljust(header_bytes, b"\0"), values.astype("<f4").tobytes()]
    return b"".join(parts) + tail


def write_vol(path: Path, scan: Scan, **options) -> Path:
    path.write_bytes(vol_bytes(scan, **options))
    return path


def _xml_image(kind, name, shape, scale, eye, line=None, source="", circle=False):
    place = ""
    if line is not None:
        point = "<{0}><Coord><X>{1:.6f}</X><Y>{2:.6f}</Y></Coord></{0}>"
        place = point.format("Start", *line[:2])
        place += point.format("Center" if circle else "End", *line[2:])
    light = f"<LightSource>{source}</LightSource>" if source else ""
    return (
        f"<Image><Laterality>{eye[1].translate({68: 'R', 83: 'L'})}</Laterality>"
        f"<ImageType><Type>{kind}</Type>{light}</ImageType><OphthalmicAcquisitionContext>"
        f"<Width>{shape[1]}</Width><Height>{shape[0]}</Height><ScaleX>{scale[1]}</ScaleX>"
        f"<ScaleY>{scale[0]}</ScaleY>{place}</OphthalmicAcquisitionContext><ImageData>"
        f"<ExamURL>file:///\\\\server\\share\\{name}</ExamURL></ImageData></Image>"
    )


def xml_series(folder: Path, scan: Scan, kind="Volume", prefix="", source="IR") -> str:
    """Write the pictures of a series and return its XML."""
    fundus = f"{prefix}IR.tif"
    Image.fromarray(scan.fundus).save(folder / fundus)
    images = _xml_image(
        "LOCALIZER", fundus, scan.fundus.shape, scan.fundus_mm, scan.eye, source=source
    )
    for number, (values, line) in enumerate(zip(scan.values, scan.lines, strict=True)):
        name = f"{prefix}B{number}.tif"
        Image.fromarray((values * 255).astype(np.uint8)).save(folder / name)
        images += _xml_image(
            "OCT", name, values.shape, scan.spacing[1:], scan.eye, line, circle=scan.pattern == 2
        )
    eye = "R" if scan.eye == "OD" else "L"
    return (
        f"<Series><Type>{kind}</Type><Laterality>{eye}</Laterality><GeneralEquipment><Manufacturer>Heidelberg "
        f"Engineering</Manufacturer><ManufacturerModelName>Spectralis</ManufacturerModelName></GeneralEquipment>"
        f"{images}</Series>"
    )


def write_xml(path: Path, *series: str, encoding="utf-8", declared=None, names=PATIENT) -> Path:
    declaration = f'<?xml version="1.0" encoding="{declared}"?>' if declared else ""
    text = (
        f"{declaration}<HEDX><BODY><Patient><ID>17</ID><PatientID>{names[2]}</PatientID><LastName>{names[0]}"
        f"</LastName><FirstNames>{names[1]}</FirstNames><Birthdate><Date><Year>1943</Year><Month>11</Month>"
        "<Day>27</Day></Date></Birthdate><Study><StudyDate><Date><Year>2024</Year><Month>2</Month><Day>29</Day>"
        f"</Date></StudyDate>{''.join(series)}</Study></Patient></BODY></HEDX>"
    )
    path.write_bytes(text.encode(encoding))
    return path


# --- E2E -----------------------------------------------------------------------------------------

_ENTRY_BYTES, _DIRECTORY_BYTES, _ITEM_BYTES = 44, 52, 60


def _texts(*texts: str) -> bytes:
    return struct.pack("<II", len(texts), 128) + b"".join(
        text.encode("utf-16-le").ljust(128, b"\0") for text in texts
    )


def _picture(kind: int, pixels: np.ndarray) -> bytes:
    return struct.pack("<5I", pixels.nbytes, kind, pixels.size, *pixels.shape) + pixels.tobytes()


def e2e_items(scan: Scan, series: int, codes: np.ndarray, degrees=30, field_stated=True):
    """(slice, kind, type, payload) of one series; lines are taken as degrees from the centre."""
    rows, columns = scan.fundus.shape
    eye = b"R" if scan.eye == "OD" else b"L"
    yield series, -1, 0xFFFF, 11, b"\0" * 14 + eye + b"\0" * 12
    yield series, -1, 0xFFFF, 9007, _texts("Infra-Red", "IR")
    yield series, -1, 0xFFFF, 9006, _texts("OCT ART Volume", "Volume")
    yield series, -1, 0, 1 << 30, _picture(0x02010201, scan.fundus)
    for index, (image, line) in enumerate(zip(codes, scan.lines, strict=True)):
        where = 2 * index if len(codes) > 1 else 2
        middle = (
            line[2:] if scan.pattern == 2 else ((line[0] + line[2]) / 2, (line[1] + line[3]) / 2)
        )
        end = line[:2] if scan.pattern == 2 else line[2:]
        header = struct.pack(
            "<III4fIfffIffIIIII2fIQIf",
            0,
            *image.shape,
            *line[:2],
            *end,
            0,
            1.0,
            scan.spacing[1],
            0.0,
            0,
            0.0,
            0.0,
            0,
            image.shape[1],
            len(codes),
            index,
            2 if scan.pattern == 2 else 1,
            *middle,
            0,
            TICKS_2024,
            9,
            30.0,
        )
        yield series, where, 0xFFFF, 10004, header.ljust(428, b"\0")
        if field_stated:
            stated = struct.pack("<HHQHHIIH", 1, ord(eye), TICKS_2024, columns, rows, 0, 0, degrees)
            yield series, where, 0xFFFF, 5, stated.ljust(59, b"\0")
        yield series, where, 1, 1 << 30, _picture(0x02200201, image)
        layer = np.full(image.shape[1], 9.0, "<f4")
        yield (
            series,
            where,
            0xFFFF,
            10019,
            struct.pack("<5I", 0, 0, 0, image.shape[1], 0) + layer.tobytes(),
        )


def patient_item():
    name, first, identity = (text.encode("latin-1") for text in PATIENT)
    return (
        -1,
        -1,
        0xFFFF,
        9,
        first.ljust(31, b"\0")
        + name.ljust(66, b"\0")
        + struct.pack("<I", 0)
        + b"M"
        + identity.ljust(29, b"\0"),
    )


def e2e_bytes(items, per_directory=8) -> bytes:
    """A file of several directories, chained backwards as Heidelberg writes them."""
    items = list(items)
    data = bytearray(b"CMDb".ljust(12, b"\0") + struct.pack("<I", 100) + b"\xff" * 18 + b"\0\0")
    main = len(data)
    data += b"\0" * _DIRECTORY_BYTES
    previous = 0
    for first in range(0, len(items), per_directory):
        group = items[first : first + per_directory]
        here = len(data)
        data += _directory(b"MDbDir", len(group), here, previous)
        place = here + _DIRECTORY_BYTES + _ENTRY_BYTES * len(group)
        entries, contents = b"", b""
        for number, (series, where, kind, item_type, payload) in enumerate(group):
            ids = (7, -1 if item_type == 9 else 8, series, where, kind, 0, item_type, 0)
            position = here + _DIRECTORY_BYTES + _ENTRY_BYTES * number
            entries += struct.pack("<4I4i2H2I", position, place, len(payload), 0, *ids)
            head = (b"MDbData", 0, position, place, len(payload), 0)
            contents += struct.pack("<12s5I4i2H2I", *head, *ids) + payload
            place += _ITEM_BYTES + len(payload)
        data += entries + contents
        previous = here
    data[main : main + _DIRECTORY_BYTES] = _directory(b"MDbMDir", 512, previous, 0)
    return bytes(data)


def _directory(magic: bytes, entries: int, current: int, previous: int) -> bytes:
    return struct.pack("<12sI20s4I", magic, 100, b"\xff" * 20, entries, current, previous, 0)


def random_codes(shape, seed=3) -> np.ndarray:
    """16-bit codes of reflectivities as they occur."""
    rng = np.random.default_rng(seed)
    return (rng.integers(45, 63, shape) << 10 | rng.integers(0, 1024, shape)).astype("<u2")
