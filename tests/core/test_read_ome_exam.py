"""OME-TIFFs as our export writes them: en-face images and facts beside the volume."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from octcube_core.errors import ExamReadError
from octcube_core.readers import read_exam

VOXELS = np.random.default_rng(3).integers(0, 256, (6, 20, 30), dtype=np.uint8)
OME = {
    "axes": "ZYX",
    "PhysicalSizeZ": 0.122,
    "PhysicalSizeZUnit": "mm",
    "PhysicalSizeY": 3.87,
    "PhysicalSizeYUnit": "µm",
    "PhysicalSizeX": 5800.0,
    "PhysicalSizeXUnit": "nm",
}
IR = np.random.default_rng(4).integers(0, 256, (40, 50), dtype=np.uint8)
CFP = np.random.default_rng(5).integers(0, 256, (44, 54, 3), dtype=np.uint8)
LINES = [[[row + 0.25, 1.5], [row + 1.0, 48.75]] for row in range(6)]
FACTS = {
    "spacing_mm": [0.1220001, 0.0038712345678, None],
    "value_range": [3, 200],
    "laterality": "OS",
    "scan_pattern": "raster",
    "device": "Maker Model & Son <x>",
    "enface": [
        {"modality": "CFP", "spacing_mm": [0.02, 0.03]},
        {"modality": "IR", "spacing_mm": [None, 0.01]},
    ],
    "locations": {"image": 1, "polylines": LINES},
}


def write_exam(path, facts=FACTS, pictures=(CFP, IR), names=("CFP", "IR")):
    """A file as this package exports it; without facts, as others may write one."""
    text = facts if isinstance(facts, str) else json.dumps(facts)
    annotation = {"Namespace": "napari-octcube/exam", "exam": text}
    with tifffile.TiffWriter(path, ome=True) as tiff:
        metadata = OME | {"Name": "OCT"} | ({"MapAnnotation": annotation} if facts else {})
        tiff.write(VOXELS, photometric="minisblack", compression="zlib", metadata=metadata)
        for picture, name in zip(pictures, names, strict=True):
            colour = picture.ndim == 3
            tiff.write(
                picture,
                photometric="rgb" if colour else "minisblack",
                metadata={
                    "axes": "YXS" if colour else "YX",
                    "Name": name,
                    "PhysicalSizeX": 11.0,
                    "PhysicalSizeXUnit": "µm",
                },
            )
    return path


def test_everything_that_the_annotation_of_an_export_states(tmp_path):
    exam = read_exam(write_exam(tmp_path / "exam.ome.tif"))
    np.testing.assert_array_equal(exam.volume.voxels, VOXELS)
    assert exam.volume.spacing_mm == (0.1220001, 0.0038712345678, None)
    assert exam.volume.value_range == (3, 200)
    assert exam.modalities == ("OCT", "CFP", "IR")
    np.testing.assert_array_equal(exam.image("CFP").pixels, CFP)
    np.testing.assert_array_equal(exam.image("IR").pixels, IR)
    assert exam.image("CFP").spacing_mm == (0.02, 0.03)
    assert exam.image("IR").spacing_mm == (None, 0.01)
    assert (exam.laterality, exam.scan_pattern) == ("OS", "raster")
    assert exam.device == "Maker Model & Son <x>"
    assert exam.locations.image == 1
    np.testing.assert_array_equal(exam.locations.polylines, LINES)
    assert len(exam.warnings) == 1
    assert "lateral" in exam.warnings[0]


def test_images_of_other_programs_are_known_by_their_names(tmp_path):
    path = write_exam(tmp_path / "x.ome.tif", facts="", names=("thumbnail", "ir"))
    exam = read_exam(path)
    assert exam.modalities == ("OCT", "IR")
    np.testing.assert_array_equal(exam.image("IR").pixels, IR)
    assert exam.image("IR").spacing_mm == (None, pytest.approx(0.011))
    np.testing.assert_allclose(exam.volume.spacing_mm, (0.122, 0.00387, 0.0058))
    assert exam.warnings == ("The file holds 3 images; 2 of them are shown.",)


def test_only_rasters_have_a_distance_between_bscans(tmp_path):
    facts = FACTS | {"scan_pattern": "radial", "spacing_mm": None}
    exam = read_exam(write_exam(tmp_path / "x.ome.tif", facts))
    assert exam.volume.spacing_mm == (None, pytest.approx(0.00387), pytest.approx(0.0058))


def test_spacings_that_no_exam_has_are_unknown(tmp_path):
    enface = [FACTS["enface"][0], {"modality": "IR", "spacing_mm": [11.0, 11.0]}]
    facts = FACTS | {"spacing_mm": [122, 3.87, 5.8], "enface": enface}
    exam = read_exam(write_exam(tmp_path / "x.ome.tif", facts))
    assert exam.volume.spacing_mm == (None, None, None)
    assert exam.image("CFP").spacing_mm == (0.02, 0.03)
    assert exam.image("IR").spacing_mm == (None, None)
    of_volume, of_image = exam.warnings
    assert "122 x 3.87 x 5.8 mm" in of_volume
    assert "11 x 11 mm for the IR image" in of_image


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        (FACTS | {"laterality": "both"}, "laterality"),
        (FACTS | {"enface": FACTS["enface"][:1]}, "states 1 en-face images but holds 2"),
        (FACTS | {"enface": 5}, "not of the form"),
        (FACTS | {"enface": [{"modality": "XR"}, {"modality": "IR"}]}, "unknown modality"),
        (FACTS | {"locations": {"image": 2, "polylines": LINES}}, "does not hold"),
        (FACTS | {"locations": {"image": 1, "polylines": LINES[1:]}}, "6 B-scans but 5"),
        ("{", "cannot be read"),
        ("[1]", "not of the form"),
    ],
)
def test_wrong_annotations_are_named(tmp_path, facts, named):
    with pytest.raises(ExamReadError, match=named):
        read_exam(write_exam(tmp_path / "x.ome.tif", facts))
