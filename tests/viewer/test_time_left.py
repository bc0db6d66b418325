import pytest

from napari_octcube._time_left import TimeLeft, in_words


def fed(*reports):
    left = TimeLeft()
    for now, fraction in reports:
        left.report(fraction, now)
    return left


STEADY = [(t, 0.05 * t) for t in range(1, 9)]  # 20 s in all


def test_a_steady_run_says_when_it_ends():
    assert fed(*STEADY).seconds(8.0) == pytest.approx(12.0)
    assert fed(*STEADY).seconds(9.5) == pytest.approx(10.5)  # no report meanwhile


@pytest.mark.parametrize(
    "reports",
    [
        [],
        STEADY[:3],  # too few
        [(0.1 * n, 0.05 * n) for n in range(1, 8)],  # too early
        [(t, 0.005 * t) for t in range(1, 9)],  # too small a part
        [(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.31), (9, 0.32), (14, 0.33)],  # it has slowed down
    ],
)
def test_while_nobody_can_say_it_is_silent(reports):
    assert fed(*reports).seconds(20.0 if not reports else reports[-1][0]) is None


def test_after_a_download_it_begins_anew():
    left = fed((1, 0.2), (2, 0.4), (3, 0.6), (4, 0.9), (5, 0.01))
    assert left.seconds(5.0) is None


def test_past_its_estimate_it_is_silent():
    assert fed(*STEADY).seconds(100.0) is None


def test_words():
    assert in_words(None) == ""
    assert in_words(0.2) == "about 1 s left"
    assert in_words(7.4) == "about 7 s left"
    assert in_words(43.0) == "about 45 s left"
    assert in_words(130.0) == "about 2 min left"
