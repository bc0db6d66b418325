"""Grey values for the screen, found from what a volume holds."""

import numpy as np
import pytest

from napari_octcube._contrast import FULL_RANGE, Contrast, auto_contrast, device_of
from octcube_core import phantom
from octcube_core.exam import Exam, OCTVolume


def retina(seed=0, shape=(12, 128, 160)):
    """Dark noise with a bright band, from 0 to 1."""
    rng = np.random.default_rng(seed)
    values = rng.rayleigh(0.06, shape)
    values[:, 50:75] += 0.5
    return np.clip(values, 0.001, 0.999)


def of(values, **options):
    return auto_contrast(OCTVolume(values, **options))


def test_a_grey_scale_that_is_half_empty_is_filled():
    dim = of((retina() * 127).astype(np.uint8))
    assert 0.25 < dim.high < 0.5
    assert dim.low < 0.05


def test_a_raised_floor_becomes_dark():
    raised = of((60 + retina() * 195).astype(np.uint8))
    assert raised.low > 0.2


def test_the_same_eye_looks_the_same_whatever_the_device_stores():
    """In 8 or 16 bits, of which some use few, or as floats; shown values agree."""
    eye = retina()
    stored = (
        (eye * 255).astype(np.uint8),
        (eye * 65535).astype(np.uint16),
        (eye * 4095).astype(np.uint16),
        eye.astype(np.float32),
        (eye * 200 - 50).astype(np.float32),
    )
    pictures = []
    for values in stored:
        volume = OCTVolume(values)
        look = auto_contrast(volume)
        black, white = look.limits(volume.black_white)
        shown = np.clip((values.astype(float) - black) / (white - black), 0, 1) ** look.gamma
        pictures.append(shown)
    for picture in pictures[1:]:
        assert np.abs(picture - pictures[0]).mean() < 0.03


def test_what_was_measured_and_not_its_logarithm_is_lifted():
    linear = of((10 ** (4 * (retina() - 1))).astype(np.float32))  # 40 dB
    assert linear.gamma < 0.8
    assert of(retina().astype(np.float32)).gamma == 1.0


def test_what_the_device_has_clipped_is_clipped_no_further():
    eye = retina()
    eye[eye < 0.1] = 0
    assert of((eye * 255).astype(np.uint8)).low == 0
    eye[:, 60:65] = 1
    assert of((eye * 255).astype(np.uint8)).high == 1


def test_empty_margins_do_not_count():
    eye = (retina() * 127).astype(np.uint8)
    inside = of(eye)
    eye[:, :10] = 0
    assert of(eye).high == pytest.approx(inside.high, abs=0.03)


@pytest.mark.parametrize("value", [0, 7, 255])
def test_nothing_to_see_is_the_full_range(value):
    assert of(np.full((3, 20, 20), value, np.uint8)) == FULL_RANGE


def test_noise_around_one_value_is_not_blown_up():
    noise = np.random.default_rng(1).normal(100, 1, (3, 64, 64))
    assert of(noise.astype(np.uint8)) == FULL_RANGE


def test_values_that_are_no_numbers_do_not_count():
    eye = (retina() * 100).astype(np.float32)
    clean = of(eye, value_range=(0, 100))
    eye[:, :20] = np.nan
    eye[0, 30] = np.inf
    holed = of(eye, value_range=(0, 100))
    assert holed.high == pytest.approx(clean.high, abs=0.03)


def test_a_healthy_picture_is_left_nearly_as_it_is():
    look = auto_contrast(phantom.make_exam(3, shape=(8, 128, 128)).volume)
    assert (look.low, look.gamma) == (pytest.approx(0, abs=0.05), 1.0)
    assert look.high > 0.85


def test_limits_and_parts_of_the_range_are_inverse():
    look = Contrast(0.1, 0.8, 0.7)
    limits = look.limits((10819.0, 18857.0))
    back = Contrast.of_limits(limits, 0.7, (10819.0, 18857.0))
    assert (back.low, back.high, back.gamma) == pytest.approx((0.1, 0.8, 0.7))


def test_a_mapped_volume_is_hardly_read(tmp_path):
    np.save(tmp_path / "eye.npy", (retina(shape=(64, 128, 160)) * 255).astype(np.uint8))
    read = []

    class Counting(np.memmap):
        def __getitem__(self, index):
            part = super().__getitem__(index)
            read.append(part.size)
            return part

    mapped = np.load(tmp_path / "eye.npy", mmap_mode="r").view(Counting)
    volume = OCTVolume(mapped)
    read.clear()
    first = auto_contrast(volume)
    assert 0 < sum(read) <= mapped.size / 8
    read.clear()
    assert auto_contrast(volume) is first
    assert read == []


def test_a_device_or_else_the_format():
    volume = OCTVolume(np.zeros((1, 4, 4), np.uint8))
    assert device_of(Exam(volume, device="Maker Model", format="DICOM")) == "Maker Model"
    assert device_of(Exam(volume, format="MATLAB")) == "MATLAB"
