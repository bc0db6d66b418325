"""Where voxels and tokens lie in the world."""

import numpy as np


def world_box(layer, index):
    """Lower and upper corner of a voxel or token in the world."""
    centre = np.asarray(index, float)
    return layer.data_to_world(centre - 0.5), layer.data_to_world(centre + 0.5)


def assert_covers(overlay, exam_layer_, voxel):
    token = np.unravel_index(np.argmax(overlay.data), overlay.data.shape)
    low, high = world_box(overlay, token)
    point = np.asarray(exam_layer_.data_to_world(voxel))
    assert (low <= point).all()
    assert (point <= high).all()
