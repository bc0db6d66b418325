"""Exams of any shape, type, spacing and scan pattern that make sense, for property-based tests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from octcube_core.exam import BScanLocations, EnFaceImage, Exam, OCTVolume

SIDE = 96  # pixels of the en-face images
CENTRE = (SIDE - 1) / 2
LENGTH, EXTENT, RADIUS = 60.0, 40.0, 25.0  # of lines, of a raster across them, of a circle
PIXEL_MM = (0.011, 0.011)
DEVICES = (None, "Spectralis", "Heidelberg Engineering Spectralis", 'A & B <"OCT"> µ')


def raster_lines(bscans, rotation_deg=0.0):
    turn = np.deg2rad(rotation_deg)
    along = np.array([np.sin(turn), np.cos(turn)])
    across = np.array([np.cos(turn), -np.sin(turn)])
    steps = (np.arange(bscans) - (bscans - 1) / 2) * EXTENT / bscans
    return tuple(
        np.array([CENTRE + across * step + along * way for way in (-LENGTH / 2, LENGTH / 2)])
        for step in steps
    )


def radial_lines(bscans):
    ways = [np.array([np.sin(a), np.cos(a)]) for a in np.pi * np.arange(bscans) / bscans]
    return tuple(np.array([CENTRE - way * LENGTH / 2, CENTRE + way * LENGTH / 2]) for way in ways)


def circle_lines(bscans, points=64):
    turn = np.linspace(0, 2 * np.pi, points)
    ring = CENTRE + RADIUS * np.column_stack([np.sin(turn), np.cos(turn)])
    return (ring,) * bscans


def lines_of(pattern, bscans, rotation_deg=0.0):
    if pattern == "radial":
        return radial_lines(bscans)
    if pattern == "circle":
        return circle_lines(bscans)
    if pattern == "line":
        return raster_lines(1, rotation_deg) * bscans
    return raster_lines(bscans, rotation_deg)


def true_spacing(pattern, lines, width, axial=0.003872):
    """Spacing that fits the lines on an image of PIXEL_MM."""
    length = np.hypot(*np.diff(lines[0], axis=0).T).sum() * PIXEL_MM[0]
    lateral = length / (width - 1) if width > 4 else None
    pitch = EXTENT / len(lines) * PIXEL_MM[0] if pattern == "raster" and len(lines) > 1 else None
    return pitch, axial, lateral


def scan(pattern, *, bscans=6, rotation_deg=0.0, shape=(40, 48), seed=0, **facts):
    """An exam of a pattern whose spacing and lines agree, with IR and FAF; located on the FAF."""
    random = np.random.default_rng(seed)
    lines = lines_of(pattern, bscans, rotation_deg)
    voxels = random.integers(0, 256, (bscans, *shape), dtype=np.uint8)
    images = [
        EnFaceImage(random.integers(0, 256, (SIDE, SIDE), dtype=np.uint8), modality, PIXEL_MM)
        for modality in ("IR", "FAF")
    ]
    defaults = {
        "volume": OCTVolume(voxels, true_spacing(pattern, lines, shape[1])),
        "enface": tuple(images),
        "locations": BScanLocations(lines, 1),
        "laterality": "OD",
        "scan_pattern": pattern,
        "device": "Heidelberg Spectralis",
    }
    return Exam(**(defaults | facts))


@st.composite
def volumes(draw, bscans):
    sizes = st.one_of(st.integers(1, 9), st.integers(32, 45))
    shape = (bscans, draw(sizes), draw(sizes))
    random = np.random.default_rng(draw(st.integers(0, 9)))
    kind = draw(st.sampled_from(("uint8", "uint8 window", "10", "12", "16", "float", "wide")))
    if kind.startswith("uint8"):
        voxels = random.integers(0, 256, shape, dtype=np.uint8)
        return OCTVolume(voxels, value_range=(20, 200) if "window" in kind else None)
    if kind.isdigit():
        white = 2 ** int(kind) - 1
        voxels = random.integers(0, white + 1, shape, dtype=np.uint16)
        return OCTVolume(voxels, value_range=(0, white))
    if kind == "float":
        return OCTVolume(random.random(shape, np.float32))
    voxels = (random.standard_normal(shape) * 1000).astype(np.float32)
    return OCTVolume(voxels, value_range=(-500.0, 2500.0))


@st.composite
def pictures(draw, modality, grey_only=False):
    random = np.random.default_rng(draw(st.integers(0, 9)))
    colour = modality == "CFP" and not grey_only
    dtype = np.uint8 if colour else draw(st.sampled_from((np.uint8, np.uint16)))
    size = (SIDE, SIDE, 3) if colour else (SIDE, SIDE)
    pixels = random.integers(0, np.iinfo(dtype).max, size, dtype=dtype, endpoint=True)
    return EnFaceImage(pixels, modality, PIXEL_MM)


@st.composite
def exams(draw):
    """Exams whose spacing, where known, agrees with the lines, as that of a real scan does."""
    bscans = draw(st.integers(1, 6))
    pattern = draw(st.sampled_from((None, "raster", "radial", "circle", "line")))
    volume = draw(volumes(bscans))
    modalities = draw(st.permutations(("IR", "FAF", "CFP", "FA", "ICGA", "OCT")))
    modalities = modalities[: draw(st.integers(0, 2))]
    enface = tuple(draw(pictures(modality)) for modality in modalities)
    # One straight line is the pattern 'line', so a single B-scan of another pattern goes unplaced.
    placed = enface and pattern and (bscans > 1 or pattern in ("circle", "line"))
    rotation = draw(st.sampled_from((0.0, 90.0, -33.0)))
    lines = lines_of(pattern, bscans, rotation)
    width = volume.shape[2]
    spacing = list(true_spacing(pattern, lines, width))
    known = draw(st.lists(st.booleans(), min_size=3, max_size=3))
    if not placed and pattern in (None, "raster") and bscans > 1:
        spacing[0] = draw(st.floats(1e-3, 2.0))
    if not placed:
        spacing[2] = draw(st.floats(1e-3, 0.1))
    elif pattern == "raster":
        known[0] = True  # a reader may measure the distance between B-scans on their lines
    spacing = [value if there else None for value, there in zip(spacing, known, strict=True)]
    return Exam(
        OCTVolume(volume.voxels, tuple(spacing), volume.value_range),
        enface,
        BScanLocations(lines, draw(st.integers(0, len(enface) - 1))) if placed else None,
        draw(st.sampled_from(("OD", "OS", None))),
        pattern,
        draw(st.sampled_from(DEVICES)),
    )


def localizer_first(exam):
    """The exam as DICOM orders its images: the one on which the B-scans are placed, then the others."""
    if exam.locations is None:
        return exam
    on = exam.locations.image
    enface = (exam.enface[on], *exam.enface[:on], *exam.enface[on + 1 :])
    return replace(exam, enface=enface, locations=BScanLocations(exam.locations.polylines, 0))


def assert_same_exam(read, written, *, float_step=0.0):
    """Everything that an exam knows, but device and warnings."""
    volume = written.volume
    assert read.volume.voxels.dtype == volume.voxels.dtype
    if float_step:
        # float32 itself rounds the restored values
        assert_allclose(read.volume.voxels, volume.voxels, rtol=2e-7, atol=float_step / 2 * 1.001)
    else:
        assert_array_equal(read.volume.voxels, volume.voxels)
    assert_allclose(read.volume.black_white, volume.black_white, atol=float_step / 2)
    assert_spacing(read.volume.spacing_mm, volume.spacing_mm)
    assert read.laterality == written.laterality
    assert read.scan_pattern == written.scan_pattern
    assert read.modalities == written.modalities
    for image, original in zip(read.enface, written.enface, strict=True):
        assert_array_equal(image.pixels, original.pixels)
        assert_spacing(image.spacing_mm, original.spacing_mm)
    assert (read.locations is None) == (written.locations is None)
    if written.locations is not None:
        assert read.locations.image == written.locations.image
        for line, original in zip(
            read.locations.polylines, written.locations.polylines, strict=True
        ):
            assert_allclose(line, original, atol=0.01)


def assert_spacing(read, written):
    assert [value is None for value in read] == [value is None for value in written]
    for value, original in zip(read, written, strict=True):
        if original is not None:
            assert abs(value - original) < 1e-6
