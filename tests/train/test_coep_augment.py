"""Augmentation of volumes and images of the same eyes."""

from __future__ import annotations

import torch

from train.data.augment_pairs import PairAugment

STILL = {
    "depth_shift": 0.0,
    "contrast": 0.0,
    "rotation_deg": 0.0,
    "zoom": 0.0,
    "shift": 0.0,
    "image_contrast": 0.0,
    "brightness": 0.0,
}


def eyes(count=32):
    """A bright corner, seen from above in the volume as in the images."""
    volume = torch.zeros(count, 1, 8, 4, 8)
    volume[:, :, 0, :, 0] = 1.0
    image = volume[:, 0].amax(dim=2)[:, None].repeat(1, 3, 1, 1)
    return volume, {"IR": image.clone(), "FAF": image.clone()}


def test_an_eye_is_mirrored_in_all_its_modalities_alike():
    torch.manual_seed(0)
    volume, images = PairAugment(**STILL)(*eyes())
    above = volume[:, 0].amax(dim=2)
    corners = {tuple(divmod(int(place), 8)) for place in above.flatten(1).argmax(dim=1)}
    assert corners == {(0, 0), (0, 7), (7, 0), (7, 7)}
    for image in images.values():
        torch.testing.assert_close(image, above[:, None].expand_as(image))


def test_without_mirroring_an_eye_stays_as_it_is():
    given = eyes()
    volume, images = PairAugment(mirror=False, **STILL)(*given)
    torch.testing.assert_close(volume, given[0])
    torch.testing.assert_close(images, given[1])


def test_each_image_turns_and_changes_for_itself():
    torch.manual_seed(0)
    given = eyes()
    _, images = PairAugment(mirror=False, shift=0.2)(*given)
    assert not torch.allclose(images["IR"], images["FAF"])
    assert not torch.allclose(images["IR"][0], images["IR"][1])


def test_a_shift_is_a_share_of_the_side():
    torch.manual_seed(0)
    image = torch.zeros(64, 3, 32, 32)
    image[:, :, 14:18, 14:18] = 1.0
    _, images = PairAugment(mirror=False, **STILL | {"shift": 0.25})(
        torch.zeros(64, 1, 2, 4, 4), {"IR": image}
    )
    rows = (images["IR"][:, 0].sum(dim=2) * torch.arange(32)).sum(dim=1)
    moved = rows / images["IR"][:, 0].sum(dim=(1, 2)) - 15.5
    assert moved.abs().max() < 0.25 * 32 + 0.1
    assert moved.abs().max() > 0.8 * 0.25 * 32


def test_the_same_seed_changes_an_eye_the_same_way():
    given, augment = eyes(), PairAugment()
    torch.manual_seed(7)
    first = augment(*given)
    torch.manual_seed(7)
    second = augment(*given)
    torch.testing.assert_close(first[0], second[0], rtol=0, atol=0)
    torch.testing.assert_close(first[1], second[1], rtol=0, atol=0)
