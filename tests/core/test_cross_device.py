"""Volumes of other devices are cropped to the tissue and their intensities clipped."""

from __future__ import annotations

import numpy as np
import pytest

from octcube_core.cross_device import applies, foreground, harmonise, is_of_another_device
from octcube_core.errors import InputError
from octcube_core.exam import OCTVolume
from octcube_core.preprocess import resize_volume


def band(speckles: int = 0, dtype=np.uint8) -> np.ndarray:
    """Tissue between depths 60 and 110 of 200, on noise, with single bright speckles anywhere."""
    rng = np.random.default_rng(1)
    voxels = rng.integers(5, 40, (6, 200, 64))
    voxels[:, 60:110] = rng.integers(120, 220, (6, 50, 64))
    places = rng.integers(0, voxels.size, speckles)
    voxels.flat[places] = 255
    return voxels.astype(dtype)


@pytest.mark.parametrize("speckles", [0, 400])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_depth_is_cropped_to_the_tissue(speckles, dtype):
    voxels = band(speckles, dtype)
    assert foreground(voxels) == slice(60, 110)
    volume, depth = harmonise(OCTVolume(voxels, (0.1, 0.003, 0.01)))
    assert volume.shape == (6, 50, 64)
    assert depth == (60, 110)


def test_tilted_tissue_is_kept_whole():
    voxels = np.full((4, 200, 64), 10, np.uint8)
    for column in range(64):
        voxels[:, 40 + column : 80 + column, column] = 180
    kept = foreground(voxels)
    assert kept.start <= 48
    assert kept.stop >= 135


def test_outliers_do_not_set_the_contrast():
    voxels = band()
    voxels[0, 80, 0] = 255
    black, white = harmonise(OCTVolume(voxels))[0].black_white
    tissue = voxels[:, 60:110]
    assert black == pytest.approx(np.quantile(tissue, 1e-4))
    assert white == pytest.approx(np.quantile(tissue, 0.9999))
    assert white < 255
    unit = resize_volume(harmonise(OCTVolume(voxels))[0], (6, 50, 64))
    assert (float(unit.min()), float(unit.max())) == (0.0, 1.0)


@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_constant_volume_stays_as_it_is(value):
    volume = OCTVolume(np.full((3, 20, 20), value, np.uint8))
    assert harmonise(volume) == (volume, (0, 20))


def test_a_nearly_constant_volume_keeps_its_bright_voxel():
    voxels = np.zeros((30, 100, 100), np.uint8)
    voxels[3, 50, 50] = 200
    unit = resize_volume(harmonise(OCTVolume(voxels))[0], voxels.shape)
    assert float(unit.max()) == 1.0
    assert int((unit > 0).sum()) == 1


def test_voxels_that_are_no_numbers_are_refused():
    voxels = np.zeros((3, 20, 20), np.float32)
    volume = OCTVolume(voxels)
    voxels[1, 2, 3] = np.nan
    with pytest.raises(InputError, match="NaN"):
        harmonise(volume)


def test_a_single_narrow_bscan_has_a_foreground():
    voxels = band()[:1, :, :5]
    assert foreground(voxels) == slice(60, 110)


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("Heidelberg Engineering Spectralis", False),
        ("Topcon 3DOCT-1000MK2", True),
        ("Carl Zeiss Meditec CIRRUS HD-OCT 5000", True),
        (None, False),
    ],
)
def test_devices_of_other_makers_are_told(device, expected):
    assert is_of_another_device(device) is expected


def test_rules():
    for rule, of_zeiss, of_heidelberg in (
        ("off", False, False),
        ("auto", True, False),
        ("on", True, True),
    ):
        assert applies(rule, "Zeiss Cirrus") is of_zeiss
        assert applies(rule, "Heidelberg Spectralis") is of_heidelberg
