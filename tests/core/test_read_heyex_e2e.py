"""Heidelberg's .E2E: several scans a file, millimetres only where they are known, nothing from a broken file."""

from __future__ import annotations

import logging
import random
import struct
import subprocess
import sys
import time

import numpy as np
import pytest
from heyex_files import (
    PATIENT,
    circle,
    e2e_bytes,
    e2e_items,
    patient_item,
    radial,
    random_codes,
    raster,
    read_or_refuse,
    refusal,
)

from octcube_core.errors import ExamReadError
from octcube_core.readers import find_exams, read_exam, read_exams

CODES = random_codes((5, 24, 40))
DEGREES = [(-5.0, 3.0 - row, 5.0, 3.0 - row) for row in range(5)]


def in_degrees(scan, lines=None):
    """The scan with its lines in degrees from the centre of the fundus image."""
    scan.lines = lines or [tuple(np.array(line) * 10 - 4.5) for line in scan.lines]
    return scan


def write(path, *items, **options):
    path.write_bytes(
        e2e_bytes([patient_item(), *(item for part in items for item in part)], **options)
    )
    return path


@pytest.fixture
def volume(tmp_path):
    return write(tmp_path / "scan.e2e", e2e_items(in_degrees(raster(), DEGREES), 31, CODES))


def test_the_truncated_sample(real_data):
    assert "truncated" in refusal(real_data / "heidelberg_e2e/truncated.E2E")


def test_a_volume(volume):
    exam = read_exam(volume)
    assert exam.volume.shape == (5, 24, 40)
    assert exam.volume.spacing_mm == (None, pytest.approx(0.0039), None)
    assert (exam.laterality, exam.scan_pattern) == ("OD", "raster")
    assert len(exam.warnings) == 1
    assert "degrees" in exam.warnings[0]
    for row, line in enumerate(exam.locations.polylines):
        down = 80 * (0.5 + (3 - row) / 30)
        np.testing.assert_allclose(line, [[down, 96 * (0.5 - 5 / 30)], [down, 96 * (0.5 + 5 / 30)]])


def test_it_agrees_with_eyepy(volume):
    from eyepy.core.utils import from_e2e_intensity
    from eyepy.io.he.e2e_reader import HeE2eReader

    exam = read_exam(volume)
    with HeE2eReader(volume) as reader:
        theirs = reader.series[0].get_volume()
    np.testing.assert_array_equal(exam.enface[0].pixels, theirs.localizer.data)
    assert {"82": "OD", "76": "OS"}[theirs.laterality] == exam.laterality  # the letter's code
    for line, bscan in zip(exam.locations.polylines, theirs, strict=True):
        places = np.array([bscan.meta["start_pos"], bscan.meta["end_pos"]]) / 30 + 0.5
        np.testing.assert_allclose(line, places[:, ::-1] * (80, 96), atol=1e-6)
    # eyepy reads the ten bits of the mantissa backwards; apart from that the levels are the same.
    backwards = np.array([int(f"{bits:010b}"[::-1], 2) for bits in range(1024)])
    codes = CODES >> 10 << 10 | backwards[CODES & 1023]
    swapped = write(volume.with_name("b.e2e"), e2e_items(raster(), 31, codes.astype("<u2")))
    with HeE2eReader(swapped) as reader:
        levels = from_e2e_intensity(reader.series[0].get_bscans())
    np.testing.assert_array_equal(exam.volume.voxels, levels)


def test_the_real_bscan_is_smoother_in_our_order_of_bits(real_data):
    from octcube_core.readers.heyex_intensity import e2e_grey_levels

    content = (real_data / "heidelberg_e2e/truncated.E2E").read_bytes()
    codes = np.frombuffer(content, "<u2", 496 * 512, 348 + 60 + 20).reshape(496, 512)
    backwards = np.array([int(f"{bits:010b}"[::-1], 2) for bits in range(1024)])
    reversed_codes = codes >> 10 << 10 | backwards[codes & 1023]

    def roughness(values):
        return np.abs(np.diff(e2e_grey_levels()[values].astype(int), axis=1)).mean()

    assert roughness(codes) < 0.95 * roughness(reversed_codes)


def test_several_scans(tmp_path):
    path = write(
        tmp_path / "scan.E2E",
        e2e_items(in_degrees(raster(), DEGREES), 31, CODES),
        e2e_items(in_degrees(circle("OS")), 32, CODES[:1]),
        e2e_items(in_degrees(radial(4, eye="OS")), 33, CODES[:4]),
        per_directory=5,
    )
    found = list(find_exams(path))
    assert [entry.part for entry in found] == ["OD, series 1", "OS, series 2", "OS, series 3"]
    assert [entry.shape for entry in found] == [(5, 24, 40), (1, 24, 40), (4, 24, 40)]
    exams = list(read_exams(path))
    assert [exam.scan_pattern for exam in exams] == ["raster", "circle", "radial"]
    (line,) = exams[1].locations.polylines
    assert len(line) == 40
    assert line[10][0] < line[0][0] - 1  # from temporal to superior
    with pytest.raises(ExamReadError, match="3 exams"):
        read_exam(path)


@pytest.mark.parametrize("change", [{"field_stated": False}, {"degrees": 0}])
def test_without_the_field_of_the_fundus_image_there_are_no_places(tmp_path, change):
    path = write(tmp_path / "a.e2e", e2e_items(in_degrees(raster(), DEGREES), 31, CODES, **change))
    exam = read_exam(path)
    assert exam.locations is None
    assert "places" in exam.warnings[1]


@pytest.mark.parametrize("lost", [10004, 1 << 30])
def test_missing_bscans(tmp_path, lost):
    items = list(e2e_items(raster(), 31, CODES))
    items.remove(next(item for item in items if item[3] == lost and item[1] == 4))
    assert "lacks" in refusal(write(tmp_path / "scan.e2e", items))


def test_no_oct(tmp_path):
    items = [item for item in e2e_items(raster(), 31, CODES) if item[1] == -1]
    assert "no OCT" in refusal(write(tmp_path / "scan.e2e", items))


def test_identity_is_in_the_patient_alone(volume, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    exam = read_exam(volume)
    assert (exam.patient.name, exam.patient.id) == ("Quagga, Zebedee", PATIENT[2])
    assert exam.patient.exam_date == "2024-02-29"
    told = repr(exam) + "".join(exam.warnings) + next(find_exams(volume)).name
    told += caplog.text + "".join(capsys.readouterr())
    assert not any(word in told for word in PATIENT)


def test_a_chain_that_bites_its_tail(volume):
    content = bytearray(volume.read_bytes())
    (last,) = struct.unpack_from("<I", content, 36 + 40)
    struct.pack_into("<I", content, last + 44, last)
    volume.write_bytes(content)
    assert "damaged" in refusal(volume)


def test_directories_that_overlap(tmp_path):
    """Each lists the same items, so their number is the square of the file's size."""
    count = 4000
    content = bytearray(e2e_bytes([patient_item()]))
    base = len(content)
    for number in range(count):
        content += struct.pack(
            "<12sI20s4I",
            b"MDbDir",
            100,
            b"",
            count,
            0,
            base + 52 * (number - 1) if number else 0,
            0,
        )
    content += b"\0" * 44 * count
    struct.pack_into("<I", content, 36 + 40, base + 52 * (count - 1))
    path = tmp_path / "scan.e2e"
    path.write_bytes(content)
    started = time.monotonic()
    refusal(path)
    assert time.monotonic() - started < 5


def test_lengths_that_lie(volume):
    content = volume.read_bytes()
    header = content.index(struct.pack("<II", 0x02200201, 24 * 40))
    for place in range(header - 4, header + 16, 4):
        if place == header:
            continue
        for lie in (0, 25, 0x7FFFFFFF, 0xFFFFFFFF):
            mutated = bytearray(content)
            struct.pack_into("<I", mutated, place, lie)
            volume.write_bytes(mutated)
            if place > header + 4:
                refusal(volume)
            else:
                assert read_exam(volume).volume.shape == (5, 24, 40)


def test_truncated_at_any_byte(volume):
    content = volume.read_bytes()
    for cut in [*range(1, 140, 9), *range(140, len(content), 311), len(content) - 1]:
        volume.write_bytes(content[:cut])
        refusal(volume)


def test_flipped_bytes(volume):
    content, chance = volume.read_bytes(), random.Random(9)
    refused = 0
    structure = [place for place in range(len(content)) if place < 600 or place % 997 < 60]
    for _ in range(300):
        mutated = bytearray(content)
        mutated[chance.choice(structure)] ^= chance.randrange(1, 256)
        volume.write_bytes(mutated)
        exam = read_or_refuse(volume)
        if exam is None:
            refused += 1
        else:
            assert exam.volume.shape == (5, 24, 40)
    assert refused > 20


def test_reading_needs_no_eyepy(volume):
    """Its import takes a sixth of a second, and it writes to the log what it finds."""
    code = (
        "import sys; from octcube_core.readers import read_exam; "
        f"read_exam({str(volume)!r}); sys.exit('eyepy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
