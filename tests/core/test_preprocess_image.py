"""The en-face image that a model sees is torchvision's, and its patches know where they lie in the picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms

from octcube_core.checkpoints.card import Architecture
from octcube_core.errors import InputError
from octcube_core.exam import EnFaceImage
from octcube_core.preprocess_image import prepare_image
from octcube_core.token_grid import PatchGrid

# Portrait and landscape, odd and even, smaller and larger than the input, and those of devices.
SHAPES = [
    (64, 64),
    (65, 64),
    (97, 131),
    (131, 97),
    (50, 201),
    (33, 40),
    (768, 768),
    (496, 768),
    (1305, 660),
    (660, 640),
    (61, 60),
]


def _architecture(size: int = 64) -> Architecture:
    grid = (1, size // 16, size // 16)
    return Architecture(64, 1, 1, (3, 16, 16), grid, 256, final_residual=True, planar=True)


def _pipeline(picture: Image.Image, size: int) -> torch.Tensor:
    """What users of the reference write."""
    steps = [
        transforms.Resize(size, interpolation=transforms.InterpolationMode.BICUBIC),
        transforms.CenterCrop(size),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
    return transforms.Compose(steps)(picture.convert("RGB"))[None]


def _bytes(shape: tuple[int, ...]) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, shape)
    ramp = np.linspace(0, 255, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    return ((noise + ramp) / 2).astype(np.uint8)


@pytest.mark.parametrize("size", [64, 224, 384])
@pytest.mark.parametrize("channels", [(), (3,)], ids=["grey", "rgb"])
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_torchvision(shape, channels, size: int) -> None:
    pixels = _bytes((*shape, *channels))
    found, grid = prepare_image(EnFaceImage(pixels, "IR"), _architecture(size))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, _pipeline(Image.fromarray(pixels), size), rtol=0, atol=1e-6)
    assert grid.shape == (size // 16, size // 16)


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(20, 900), columns=st.integers(20, 900))
@example(rows=720, columns=640)  # where a rounded factor gives one row less
def test_the_size_before_the_cut_is_torchvisions(rows: int, columns: int) -> None:
    pixels = np.zeros((rows, columns), np.uint8)
    _, grid = prepare_image(EnFaceImage(pixels, "IR"), _architecture(224))
    resized = transforms.Resize(224)(Image.fromarray(pixels))
    assert grid.scaled_shape == (resized.height, resized.width)


@pytest.mark.parametrize(
    "convert",
    [
        lambda b: b.astype(np.uint16) * 257,  # black to white of 16 bits
        lambda b: (b.astype(np.uint16) * 257).astype(">u2"),
        lambda b: b.astype(np.float32) / 255,
        lambda b: b.astype(np.float64) / 255,
        lambda b: b / 255 * 40 - 7,  # any other numbers, by their extremes
    ],
    ids=["uint16", "big-endian", "float32", "float64", "any range"],
)
@pytest.mark.parametrize("channels", [(), (3,)], ids=["grey", "rgb"])
def test_other_types_show_the_same_picture(convert, channels) -> None:
    pixels = _bytes((97, 131, *channels))
    pixels.flat[:2] = 0, 255
    expected, _ = prepare_image(EnFaceImage(pixels, "IR"), _architecture())
    found, _ = prepare_image(EnFaceImage(convert(pixels), "IR"), _architecture())
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_dark_picture_in_zero_to_one_stays_dark() -> None:
    dark = np.full((64, 64), 0.25, np.float32)
    dark[0, 0] = 0.1
    found, _ = prepare_image(EnFaceImage(dark, "IR"), _architecture())
    grey = found[0, :, 32, 32] * torch.tensor([0.229, 0.224, 0.225])
    grey += torch.tensor([0.485, 0.456, 0.406])
    torch.testing.assert_close(grey, torch.full((3,), 0.25), rtol=0, atol=0.5 / 255)


def test_one_grey_is_a_picture_too() -> None:
    found, _ = prepare_image(EnFaceImage(np.full((70, 64), 7.5), "IR"), _architecture())
    assert found.isfinite().all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_refused(value: float) -> None:
    holed = np.zeros((64, 80), np.float32)
    holed[3, 4] = value
    with pytest.raises(InputError, match="not numbers"):
        prepare_image(EnFaceImage(holed, "IR"), _architecture())


def test_the_picture_is_not_changed() -> None:
    pixels = _bytes((97, 131))
    before = pixels.copy()
    pixels.flags.writeable = False
    prepare_image(EnFaceImage(pixels, "IR"), _architecture())
    np.testing.assert_array_equal(pixels, before)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_bright_dot_lies_in_the_patch_that_covers_it(data) -> None:
    """From the picture to the patch, and back to the pixel."""
    rows, columns = data.draw(st.tuples(st.integers(64, 300), st.integers(64, 300)))
    size = 64
    factor = size / min(rows, columns)
    dot = max(1, round(3 / factor))  # three pixels of the input, so that it is seen
    architecture = _architecture(size)
    pixels = np.zeros((rows, columns), np.uint8)
    _, grid = prepare_image(EnFaceImage(pixels, "IR"), architecture)
    patch = data.draw(st.tuples(st.integers(0, 3), st.integers(0, 3)), label="patch")
    centre = np.asarray(patch) * grid.step_pixels + grid.origin_pixels
    corner = np.clip(np.rint(centre - dot / 2 + 0.5), 0, None).astype(int)
    pixels[corner[0] : corner[0] + dot, corner[1] : corner[1] + dot] = 255

    seen, _ = prepare_image(EnFaceImage(pixels, "IR"), architecture)

    light = (seen[0] - seen[0].amin(dim=(1, 2), keepdim=True)).sum(dim=0)
    per_patch = light.unflatten(0, (4, 16)).unflatten(2, (4, 16)).sum(dim=(1, 3))
    assert np.unravel_index(int(per_patch.argmax()), (4, 4)) == patch
    # And where the light is in the input is where the grid says that the dot is.
    weight = light / light.sum()
    middle = [
        float((weight.sum(dim=1 - axis) * (torch.arange(size) + 0.5)).sum()) for axis in (0, 1)
    ]
    dot_centre = corner + dot / 2 - 0.5
    expected = ((dot_centre - grid.origin_pixels) / grid.step_pixels + 0.5) * 16
    np.testing.assert_allclose(middle, expected, atol=0.35)


def test_patches_of_a_square_picture_tile_it() -> None:
    grid = PatchGrid((768, 768), (224, 224), (224, 224), (16, 16))
    edge = grid.step_pixels / 2
    np.testing.assert_allclose(grid.origin_pixels - edge, [-0.5, -0.5])
    np.testing.assert_allclose(grid.origin_pixels + 13 * grid.step_pixels + edge, [767.5, 767.5])


def test_patches_of_a_wide_picture_lie_in_its_middle() -> None:
    _, grid = prepare_image(EnFaceImage(np.zeros((100, 300), np.uint8), "IR"), _architecture())
    middle = grid.origin_pixels + 1.5 * grid.step_pixels
    np.testing.assert_allclose(middle, [49.5, 149.5], atol=0.5 * 100 / 64)
    np.testing.assert_allclose(grid.step_pixels, [25, 25], rtol=0.01)
