"""Which names of images make one whole volume."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from octcube_core.errors import ExamReadError
from octcube_core.readers import folder as folder_reader
from octcube_core.readers import read_exam


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["OD_000", "OD_001", "OS_000", "OS_001"], "the images of several volumes"),
        (["p1_1", "p1_2", "p1_3", "p2_1", "p2_2", "p2_3"], "the images of several volumes"),
        (["oct_0", "oct_1", "oct_2", "oct_0_mask", "oct_1_mask", "oct_2_mask"], "several volumes"),
        (["a_0", "a_1", "a_3", "a_4", "readme"], "holds readme.png, which is not numbered"),
        (["oct_1", "oct_2", "oct_3", "fundus_7"], "holds fundus_7.png, which is not numbered"),
        ([f"oct_{n:03}" for n in (*range(5), *range(40, 49))], "lacks B-scan number 5, 6, 7"),
    ],
)
def test_images_that_are_not_one_whole_volume_are_refused(tmp_path, names, told):
    for name in names:
        Image.fromarray(np.zeros((8, 9), np.uint8)).save(tmp_path / f"{name}.png")
    with pytest.raises(ExamReadError, match=told):
        read_exam(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ["left", "middle", "right"],
        ["scan_10-11-12", "scan_10-11-47", "scan_10-12-20"],
        ["1_of_3", "2_of_3", "3_of_3"],
    ],
)
def test_names_without_frame_numbers_are_taken_in_their_order(tmp_path, names):
    for level, name in enumerate(names):
        Image.fromarray(np.full((8, 9), level, np.uint8)).save(tmp_path / f"{name}.png")
    assert read_exam(tmp_path).volume.voxels[:, 0, 0].tolist() == [0, 1, 2]


def test_every_other_bscan_does_not_take_the_distance_of_all(tmp_path):
    for number in (0, 2, 4):
        Image.fromarray(np.zeros((8, 9), np.uint8)).save(tmp_path / f"oct_{number}.png")
    (tmp_path / "meta.json").write_text('{"spacing_mm": [0.12, 0.0039, 0.011]}')
    exam = read_exam(tmp_path)
    assert exam.volume.spacing_mm == (None, 0.0039, 0.011)
    assert folder_reader.NOT_EVERY_BSCAN in exam.warnings
