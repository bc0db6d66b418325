import numpy as np
import pytest
from fakes import make_exam

from napari_octcube._projection import Projecting, project, projection_layer


@pytest.fixture
def exam():
    return make_exam((4, 30, 20), bright=(2, 12, 7))


@pytest.mark.parametrize("kind", ["mean", "max"])
@pytest.mark.parametrize(("first", "last"), [(0, 29), (5, 5), (10, 20)])
def test_projects_over_the_range_both_ends_included(exam, kind, first, last):
    expected = getattr(np, kind)(exam.volume.voxels[:, first : last + 1].astype(float), axis=1)
    np.testing.assert_allclose(project(exam, kind, first, last), expected, rtol=1e-6)


def test_the_layer_is_at_every_depth_and_registered_with_the_volume(exam):
    layer = projection_layer(exam, project(exam, "max", 0, 29), "max", "um")
    assert layer.data.shape == exam.volume.shape
    assert layer.data.strides[1] == 0
    np.testing.assert_allclose(layer.scale, np.array(exam.volume.spacing_mm) * 1000)
    assert layer.data[2, 0, 7] == 255


def test_of_several_only_the_newest_is_handed_over(exam, owner):
    projecting, made = Projecting(owner), []
    for last in (5, 10, 29):
        projecting.make(exam, "max", (0, last), made.append)
    owner.run_until(lambda: made)
    owner.run_pending()
    assert len(made) == 1
    np.testing.assert_array_equal(made[0], project(exam, "max", 0, 29))
    projecting.make(exam, "mean", (0, 29), made.append)
    projecting.forget()
    import time

    time.sleep(0.2)
    owner.run_pending()
    assert len(made) == 1
