import numpy as np
import pytest

from napari_octcube._fundus_picture import MAX_SIDE, fundus_picture
from octcube_core.exam import EnFaceImage

RAMP = np.linspace(0, 1, 100 * 100).reshape(100, 100)


def test_eight_bits_are_shown_as_they_are():
    pixels = np.array([[0, 100], [100, 130]], np.uint8)
    np.testing.assert_array_equal(fundus_picture(EnFaceImage(pixels, "IR")), pixels)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64, np.int16])
def test_other_types_span_black_to_white(dtype):
    picture = fundus_picture(EnFaceImage((RAMP * 3000 + 1000).astype(dtype), "FAF"))
    assert picture.dtype == np.uint8
    assert picture[0, 0] == 0
    assert picture[-1, -1] == 255
    assert abs(int(picture[50, 0]) - 128) <= 2


def test_a_few_hot_pixels_do_not_darken_the_picture():
    pixels = (RAMP * 1000).astype(np.uint16)
    pixels[3, 3] = 65535
    assert fundus_picture(EnFaceImage(pixels, "IR"))[90, 50] > 200


def test_colours_keep_their_ratio():
    pixels = np.stack([RAMP, RAMP / 2, 0 * RAMP], -1).astype(np.float32)
    red, green, blue = fundus_picture(EnFaceImage(pixels, "CFP"))[50, 50].astype(int)
    assert abs(red - 2 * green) <= 3
    assert blue == 0


@pytest.mark.parametrize("value", [7.0, np.nan, np.inf])
def test_constant_or_broken_images_are_black(value):
    assert fundus_picture(EnFaceImage(np.full((5, 5), value), "IR")).max() == 0


def test_large_photographs_are_thinned_out():
    pixels = np.zeros((3000, 5000, 3), np.uint8)
    pixels[:, 2500:] = 255
    picture = fundus_picture(EnFaceImage(pixels, "CFP"))
    assert max(picture.shape) <= MAX_SIDE
    edge = np.argmax(picture[0, :, 0] > 0)
    assert edge / picture.shape[1] == pytest.approx(0.5, abs=0.001)
