import numpy as np
import pytest

from napari_octcube._bscan_lines import MAX_POINTS, BScanLines, arrow_of
from octcube_core.exam import BScanLocations


def lines_of(*polylines):
    return BScanLines(BScanLocations(tuple(np.array(line, float) for line in polylines)))


def circle(centre, radius, points=768):
    angle = np.linspace(0, 2 * np.pi, points)
    return np.stack([centre[0] + radius * np.sin(angle), centre[1] + radius * np.cos(angle)], 1)


def test_pixel_centres_lie_half_a_pixel_inside_the_picture():
    (line,) = lines_of([[0, 0], [4, 10]]).lines
    np.testing.assert_allclose(line, [[0.5, 0.5], [10.5, 4.5]])  # (x, y)


def test_nearest_line_of_a_raster():
    raster = lines_of(*[[[row, 0], [row, 50]] for row in (10, 20, 30)])
    assert raster.nearest((25, 14)) == 0
    assert raster.nearest((25, 16.5)) == 1
    assert raster.nearest((25, 400)) == 2


def test_nearest_is_to_the_line_and_not_to_its_extension():
    short = lines_of([[10, 0], [10, 5]], [[14, 30], [14, 50]])
    assert short.nearest((40, 11)) == 1


def test_nearest_of_radial_lines_and_circles():
    star = lines_of(
        *[
            [
                [50 - 40 * np.sin(a), 50 - 40 * np.cos(a)],
                [50 + 40 * np.sin(a), 50 + 40 * np.cos(a)],
            ]
            for a in np.deg2rad([0, 45, 90, 135])
        ]
    )
    assert star.nearest((80, 52)) == 0
    assert star.nearest((70, 72)) == 1
    assert star.nearest((50, 20)) == 2
    rings = lines_of(circle((50, 50), 20), circle((50, 50), 40))
    assert rings.nearest((50, 72)) == 0
    assert rings.nearest((15, 50)) == 1


def test_nearest_is_by_true_distance_where_pixels_are_not_square():
    lines = lines_of([[10, 0], [10, 60]], [[0, 34], [60, 34]])
    assert lines.nearest((30, 13)) == 0
    assert lines.nearest((30, 13), stretch=3) == 1


def test_a_straight_line_of_many_points_is_drawn_by_two():
    (line,) = lines_of(np.stack([np.full(1024, 7.0), np.linspace(0, 500, 1024)], 1)).lines
    np.testing.assert_allclose(line, [[0.5, 7.5], [500.5, 7.5]])


def test_a_circle_stays_round_within_a_tenth_of_a_pixel():
    (line,) = lines_of(circle((300, 300), 200, points=2000)).lines
    assert len(line) <= MAX_POINTS
    middles = (line[1:] + line[:-1]) / 2 - 300.5
    np.testing.assert_allclose(np.hypot(*middles.T), 200, atol=0.1)


def test_a_line_that_runs_back_on_itself_keeps_its_points():
    (line,) = lines_of([[5, 0], [5, 30], [5, 10]]).lines
    assert len(line) == 3


@pytest.mark.parametrize("points", [2, 9])
def test_arrow_of_an_open_line_is_at_its_end(points):
    line = np.stack([np.linspace(50, 10, points), np.full(points, 3.0)], 1)
    tip, direction = arrow_of(line)
    np.testing.assert_allclose(tip, [10, 3])
    np.testing.assert_allclose(direction, [-1, 0])


def test_arrow_of_a_circle_shows_the_way_round():
    (line,) = lines_of(circle((0, 0), 100)).lines  # from the right, on downwards
    tip, direction = arrow_of(line)
    assert tip[1] > 20
    assert direction[1] > 0.5


@pytest.mark.parametrize("line", [[[5, 5], [5, 5]], [[5, 5], [9, 5], [9, 5]]])
def test_arrow_of_points_stated_twice(line):
    tip, direction = arrow_of(np.array(line, float))
    np.testing.assert_allclose(tip, line[-1])
    np.testing.assert_allclose(direction, [1, 0])
