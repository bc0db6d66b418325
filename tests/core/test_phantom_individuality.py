"""An eye is the same eye in OCT, IR and FAF, whoever's device looks at it and however the camera is held."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from octcube_core.errors import InputError
from octcube_core.phantom import STYLES, make_exam

COUNT = 40


def _projection(exam) -> np.ndarray:
    """Light from below the retina, en face, at 64 x 64."""
    voxels = exam.volume.voxels[::2, ::2, ::2] / 255.0
    smooth = ndimage.gaussian_filter(voxels, (0.7, 1, 4))
    peak = ndimage.median_filter(smooth.argmax(axis=1), (3, 15)).astype(float)
    depth = np.arange(voxels.shape[1])[None, :, None]
    below = (depth >= peak[:, None] + 2) & (depth < peak[:, None] + 16)
    light = np.log((voxels * below).sum(axis=1) / below.sum(axis=1) + 0.02)
    light -= np.median(light, axis=1, keepdims=True)
    return _local(ndimage.zoom(light, (64 / light.shape[0], 64 / light.shape[1]), order=1))


def _local(picture: np.ndarray) -> np.ndarray:
    detail = picture - ndimage.gaussian_filter(picture, 8)
    return ((detail - detail.mean()) / detail.std()).ravel()


def _enface(exam, modality: str) -> np.ndarray:
    """The part of a fundus image that lies over the scan, at 64 x 64."""
    size = 256
    edge = (384 - size) // 2
    picture = ndimage.gaussian_filter(exam.image(modality).pixels.astype(float), 1.5)
    return _local(ndimage.zoom(picture[edge : edge + size, edge : edge + size], 0.25, order=1))


@pytest.fixture(scope="module")
def eyes():
    return [make_exam((8, number), laterality="OD", misalignment=1.0) for number in range(COUNT)]


def test_the_infrared_image_finds_its_oct(eyes):
    agreement = (
        np.array([_projection(e) for e in eyes]) @ np.array([_enface(e, "IR") for e in eyes]).T
    )
    own = np.arange(COUNT)
    assert (agreement.argmax(axis=1) == own).mean() >= 0.95
    assert (agreement.argmax(axis=0) == own).mean() >= 0.95


def test_brightness_says_nothing_about_who_it_is(eyes):
    brightness = np.array(
        [(e.volume.voxels.mean(), *(image.pixels.mean() for image in e.enface)) for e in eyes]
    )
    correlations = np.corrcoef(brightness.T)[np.triu_indices(3, 1)]
    assert np.abs(correlations).max() < 0.5


def test_autofluorescence_is_not_pixel_aligned_but_lies_on_the_infrared_image_if_asked_for():
    agreements = {}
    for misalignment in (0.0, 1.0):
        pairs = [make_exam((8, n), diseases=(), misalignment=misalignment) for n in range(8)]
        agreements[misalignment] = np.mean(
            [np.mean(_enface(e, "IR") * _enface(e, "FAF")) for e in pairs]
        )
        sides = {e.image("FAF").spacing_mm[0] * 384 for e in pairs}
        assert (len(sides) > 1) == bool(misalignment)
    assert agreements[1.0] < 0.6 * agreements[0.0]


def test_a_turned_infrared_image_shows_where_the_bscans_lie():
    exam = make_exam((8, 3), misalignment=1.0)
    lines = np.array(exam.locations.polylines)
    slopes = lines[:, 1, 0] - lines[:, 0, 0]
    assert np.abs(slopes).min() > 0.5
    pitch = exam.image("IR").spacing_mm[0]
    lengths = np.linalg.norm(lines[:, 1] - lines[:, 0], axis=1) * pitch
    np.testing.assert_allclose(lengths, 255 * exam.volume.spacing_mm[2])


def _speckle(exam) -> float:
    """Relative roughness of tissue between neighbouring A-scans."""
    voxels = exam.volume.voxels.astype(float)
    tissue = voxels > np.percentile(voxels, 85)
    rough = np.abs(voxels - ndimage.uniform_filter(voxels, (0, 0, 5)))
    return float(rough[tissue].mean() / voxels[tissue].mean())


def test_devices_differ_in_depth_sampling_and_noise():
    shapes = {"spectralis": (60, 256, 256), "cirrus": (128, 256, 256), "maestro2": (128, 256, 256)}
    made = {name: [make_exam(n, style=name) for n in range(2)] for name in STYLES}
    for name, (exam, _) in made.items():
        assert exam.volume.shape == shapes[name]
        spacing_z, spacing_y, _ = exam.volume.spacing_mm
        assert spacing_z * exam.volume.shape[0] == pytest.approx(6)
        assert spacing_y * exam.volume.shape[1] * 1000 == STYLES[name].depth_um
    rough = {name: np.mean([_speckle(exam) for exam in exams]) for name, exams in made.items()}
    assert rough["cirrus"] > 1.4 * rough["spectralis"]
    dark = {n: np.mean([np.median(e.volume.voxels) for e in exams]) for n, exams in made.items()}
    assert dark["maestro2"] > 1.5 * dark["spectralis"]
    np.testing.assert_array_equal(
        *(make_exam(0, style=style).truth.labels for style in ("cirrus", "spectralis"))
    )


def test_difficulty_makes_lesions_fainter():
    def contrast(difficulty: float) -> float:
        values = []
        for seed in range(3):
            sick = make_exam(seed, diseases=("DR",), difficulty=difficulty, shape=(30, 128, 128))
            well = make_exam(seed, diseases=(), difficulty=difficulty, shape=(30, 128, 128))
            mask = sick.truth.masks["DR"]
            change = sick.volume.voxels.astype(float) - well.volume.voxels
            noise = well.volume.voxels[:, :20].std()
            values.append(np.abs(change[mask]).mean() / noise)
        return float(np.mean(values))

    assert contrast(3.0) < 0.7 * contrast(1.0)
    assert contrast(1.0) < 0.9 * contrast(0.4)


def test_unknown_styles_and_difficulties_are_refused():
    with pytest.raises(InputError, match=r"'polaroid'.*spectralis"):
        make_exam(0, style="polaroid")
    with pytest.raises(InputError, match="greater than 0"):
        make_exam(0, difficulty=0)
