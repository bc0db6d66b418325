import numpy as np
import pytest
from archives import eye, make_archive

from napari_octcube._map_making import MapMaking


@pytest.fixture
def mapping(similar, owner):
    mapping = MapMaking(similar, owner)
    yield mapping
    mapping.close()


def opened(similar, owner, folder, brightnesses):
    similar.open_archive(make_archive(folder, brightnesses))
    owner.run_until(lambda: similar.state.archive is not None)


def test_lays_out_the_archive_with_the_eye_in_view(similar, session, mapping, owner, tmp_path):
    opened(similar, owner, tmp_path, (20, 60, 100, 140))
    session.show_exam(eye(100))
    similar.ask(leave_out=None)
    similar.find()
    owner.run_until(lambda: similar.state.found is not None)
    mapping.start("pca")
    owner.run_until(lambda: similar.state.map is not None or similar.state.error, 60)
    shown = similar.state.map
    assert shown.archive_map.points.shape == (4, 2)
    assert sorted(shown.labels.values()) == [("AMD",), ("AMD", "DME"), ("DME",)]
    nearest = similar.state.found.neighbours[0]
    place = shown.archive_map.points[shown.archive_map.exams == nearest.exam][0]
    spread = np.ptp(shown.archive_map.points, axis=0).max()
    np.testing.assert_allclose(shown.here, place, atol=0.05 * spread)
    assert not similar.state.busy


def test_too_few_eyes_are_one_sentence(similar, mapping, owner, tmp_path):
    opened(similar, owner, tmp_path, (20, 60))
    mapping.start("pca")
    owner.run_until(lambda: similar.state.error, 60)
    assert "at least three eyes" in similar.state.error
    assert "\n" not in similar.state.error
    assert not similar.state.busy
