from __future__ import annotations

import numpy as np
import pytest

from octcube_core.scan_pattern import raster_pitch, scan_pattern


def raster(count=5, pitch=7.3, length=300.0, degrees=0.0, centre=(200.0, 210.0)):
    turn = np.deg2rad(degrees)
    along, across = np.array([np.sin(turn), np.cos(turn)]), np.array([np.cos(turn), -np.sin(turn)])
    return [
        np.array([centre + across * pitch * i + along * way for way in (-length / 2, length / 2)])
        for i in np.arange(count) - (count - 1) / 2
    ]


def star(count, length=200.0, centre=(150.0, 160.0)):
    angles = np.pi * np.arange(count) / count + 0.1
    ways = np.column_stack([np.sin(angles), np.cos(angles)]) * length / 2
    return [np.array([centre - way, centre + way]) for way in ways]


def circle(radius=120.0, points=768, turns=1.0, squeeze=1.0):
    angle = np.linspace(0.3, 0.3 + 2 * np.pi * turns, points)
    return np.column_stack([200 + radius * np.sin(angle), 210 + squeeze * radius * np.cos(angle)])


@pytest.mark.parametrize("degrees", [0, 90, 33, -120, 180])
@pytest.mark.parametrize("count", [2, 3, 49])
def test_rasters_in_any_direction(degrees, count):
    lines = raster(count, degrees=degrees)
    assert scan_pattern(lines) == "raster"
    assert raster_pitch(lines) == pytest.approx(7.3)


def test_places_rounded_to_whole_pixels():
    lines = [np.rint(line) for line in raster(25, pitch=2.4, degrees=17)]
    assert scan_pattern(lines) == "raster"
    assert raster_pitch(lines) == pytest.approx(2.4, rel=0.03)
    assert scan_pattern([np.rint(line) for line in star(6)]) == "radial"
    assert scan_pattern([np.rint(circle())]) == "circle"
    assert scan_pattern([np.rint(raster(1, degrees=21)[0])]) == "line"


def test_dense_raster_on_a_small_image():
    assert scan_pattern(raster(512, pitch=0.5, length=250)) == "raster"


def test_raster_with_many_points_along_each_line():
    lines = [np.linspace(line[0], line[1], 500) for line in raster(4)]
    assert scan_pattern(lines) == "raster"


@pytest.mark.parametrize("count", [2, 3, 6, 24])
def test_radial(count):
    assert scan_pattern(star(count)) == "radial"
    assert raster_pitch(star(count)) is None


def test_circles():
    assert scan_pattern([circle()]) == "circle"
    assert scan_pattern([circle(radius=r) for r in (100, 120, 140)]) == "circle"
    assert scan_pattern([circle(points=12)]) == "circle"
    assert scan_pattern([circle(turns=0.95)]) == "circle"


def test_single_and_repeated_lines():
    assert scan_pattern(raster(1, degrees=40)) == "line"
    assert scan_pattern(raster(1) * 5) == "line"


SHIFTED = [line + np.array([0, 100.0 * (i % 2)]) for i, line in enumerate(raster(6))]
BACK_AND_FORTH = [line[:: 1 if i % 2 else -1] for i, line in enumerate(raster(6))]


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [circle(turns=0.5)],
        [circle(squeeze=0.7)],
        [raster(1)[0], circle()],
        [np.array([(0.0, 0.0), (50.0, 50.0), (0.0, 100.0)])],
        [np.array([(5.0, 5.0), (5.0, 5.0)])],
        [np.array([(5.0, np.nan), (5.0, 50.0)])],
        [raster(4)[i] for i in (0, 1, 3)],
        [*raster(3), *raster(3, degrees=90)],
        [star(3)[0], star(3)[1] + [60.0, 60.0], star(3)[2]],
        [np.array([(0.0, 0.0), (0.0, 100.0)]), np.array([(0.0, 50.0), (80.0, 50.0)])],
        SHIFTED,
        BACK_AND_FORTH,
    ],
    ids=[
        "none",
        "half circle",
        "ellipse",
        "mixed",
        "bent",
        "point",
        "no number",
        "uneven",
        "grid",
        "no common centre",
        "T",
        "shifted",
        "back and forth",
    ],
)
def test_no_pattern(lines):
    assert scan_pattern(lines) is None
