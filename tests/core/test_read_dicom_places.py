"""Where DICOM files say that their B-scans lie, and what that says about millimetres."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from dicom_files import (
    FUNDUS_MM,
    LINES,
    MEASURES,
    code,
    infrared,
    item,
    opt,
    photograph,
    pixel_measures,
    place,
    placed,
    read_lines,
    read_with,
    save,
    scan_on,
    shared,
)
from pydicom import uid
from pydicom.sequence import Sequence

from octcube_core.readers import read_exam
from octcube_core.readers.dicom_location import OFF_THE_IMAGE, SOME_MISSING, UNEVEN_DEPTHS
from octcube_core.readers.dicom_neighbours import NOT_FOUND


def test_lines_on_the_localizer(tmp_path):
    exam = read_lines(tmp_path)
    assert exam.locations.image == 0
    assert exam.modalities == ("OCT", "IR")
    for index, line in enumerate(exam.locations.polylines):  # half a pixel from corner to centre
        np.testing.assert_allclose(line, [(10 + 8 * index, 12), (10 + 8 * index, 59)], atol=1e-5)
    assert exam.scan_pattern == "raster"
    assert exam.volume.spacing_mm == (0.08, 0.004, 0.01)
    assert exam.enface[0].spacing_mm == (0.01, 0.01)
    assert exam.warnings == ()


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("undefined", [True, False])
def test_every_encoding_of_the_groups(tmp_path, implicit, undefined):
    localizer = infrared(PixelSpacing=FUNDUS_MM)
    volume = scan_on(localizer, LINES, SharedFunctionalGroupsSequence=shared(**MEASURES))
    if implicit:
        volume.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    for keyword in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        volume[keyword].is_undefined_length = undefined
        for group in volume[keyword].value:
            group.is_undefined_length_sequence_item = undefined
            for element in group:
                element.is_undefined_length = undefined
    exam = read_with(tmp_path, localizer, volume)
    assert len(exam.locations.polylines) == 4
    assert exam.volume.spacing_mm == (0.08, 0.004, 0.01)


@pytest.mark.parametrize("undefined", [True, False])
def test_groups_of_unknown_type(tmp_path, undefined):
    """Archives that know no ophthalmology store what they do not know as UN, without types inside."""
    localizer = infrared(PixelSpacing=FUNDUS_MM)
    volume = scan_on(localizer, LINES, SharedFunctionalGroupsSequence=shared(**MEASURES))
    path = save(volume, tmp_path / "oct.dcm")
    tag = struct.pack("<HH", 0x5200, 0x9230)
    explicit = path.read_bytes()
    start, end = explicit.index(tag), explicit.index(struct.pack("<HH", 0x7FE0, 0x0010))
    volume.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian
    volume["PerFrameFunctionalGroupsSequence"].is_undefined_length = undefined
    implicit = save(volume, path).read_bytes()
    first, last = implicit.index(tag) + 4, implicit.index(struct.pack("<HH", 0x7FE0, 0x0010))
    path.write_bytes(explicit[:start] + tag + b"UN\0\0" + implicit[first:last] + explicit[end:])
    save(localizer, tmp_path / "ir.dcm")
    assert len(read_exam(path).locations.polylines) == 4


def test_points_along_a_circle(tmp_path):
    angle = np.linspace(0, 2 * np.pi, 48)
    ring = np.column_stack([30 + 20 * np.sin(angle), 40 + 20 * np.cos(angle)]) + 0.5
    localizer = infrared(PixelSpacing=FUNDUS_MM)
    lateral = 2 * np.pi * 0.2 / 47
    volume = scan_on(
        localizer,
        [],
        np.zeros((1, 40, 48), np.uint8),
        SharedFunctionalGroupsSequence=shared(PixelSpacing=[0.004, round(lateral, 6)]),
        PerFrameFunctionalGroupsSequence=Sequence(
            [placed(place(localizer.SOPInstanceUID, ring.ravel(), "NONLINEAR"))]
        ),
    )
    exam = read_with(tmp_path, localizer, volume)
    assert exam.scan_pattern == "circle"
    np.testing.assert_allclose(exam.locations.polylines[0], ring - 0.5, atol=1e-5)
    assert exam.volume.spacing_mm == (None, 0.004, round(lateral, 6))
    assert exam.warnings == ()


def test_radial_lines_have_no_distance_whatever_is_stated(tmp_path):
    angles = np.pi * np.arange(4) / 4
    ways = 23.5 * np.column_stack([np.sin(angles), np.cos(angles)])
    lines = [(*(np.array([30, 40]) - way), *(np.array([30, 40]) + way)) for way in ways]
    exam = read_lines(tmp_path, lines)
    assert exam.scan_pattern == "radial"
    assert exam.volume.spacing_mm == (None, 0.004, 0.01)
    assert exam.warnings == ()


def test_vertical_raster(tmp_path):
    lines = [(5.5, 20.5 + 8 * i, 52.5, 20.5 + 8 * i) for i in range(4)]
    exam = read_lines(tmp_path, lines)
    assert exam.scan_pattern == "raster"
    assert exam.volume.spacing_mm == (0.08, 0.004, 0.01)


def test_pattern_code_where_no_lines_are_known(tmp_path):
    volume = opt(ScanPatternTypeCodeSequence=code("128282", "Radial B-scan pattern", "DCM"))
    exam = read_exam(save(volume, tmp_path / "oct.dcm"))
    assert exam.scan_pattern == "radial"
    assert exam.volume.spacing_mm[0] is None


def test_infrared_image_is_preferred(tmp_path):
    colour, ir = photograph(np.zeros((60, 80, 3), np.uint8)), infrared()
    groups = [
        placed(place(colour.SOPInstanceUID, np.array(line) / 2), place(ir.SOPInstanceUID, line))
        for line in LINES
    ]
    save(colour, tmp_path / "a.dcm")
    exam = read_with(
        tmp_path, ir, scan_on(ir, LINES, PerFrameFunctionalGroupsSequence=Sequence(groups))
    )
    assert exam.enface[exam.locations.image].modality == "IR"
    np.testing.assert_allclose(exam.locations.polylines[0], [(10, 12), (10, 59)], atol=1e-5)


def test_place_on_the_image_that_is_there(tmp_path):
    absent, ir = photograph(), infrared()
    groups = [
        placed(place(absent.SOPInstanceUID, np.array(line) / 2), place(ir.SOPInstanceUID, line))
        for line in LINES
    ]
    exam = read_with(
        tmp_path, ir, scan_on(ir, LINES, PerFrameFunctionalGroupsSequence=Sequence(groups))
    )
    np.testing.assert_allclose(exam.locations.polylines[3], [(34, 12), (34, 59)], atol=1e-5)


def test_lines_beside_the_image_are_dropped(tmp_path):
    exam = read_lines(tmp_path, [(row, left, row + 30, right) for row, left, _, right in LINES])
    assert exam.locations is None
    assert OFF_THE_IMAGE in exam.warnings


def test_a_frame_without_a_place(tmp_path):
    localizer = infrared()
    groups = [placed(place(localizer.SOPInstanceUID, line)) for line in LINES[:3]]
    volume = scan_on(
        localizer,
        LINES,
        PerFrameFunctionalGroupsSequence=Sequence([*groups, item(FrameContentSequence=[])]),
    )
    exam = read_with(tmp_path, localizer, volume)
    assert exam.locations is None
    assert len(exam.enface) == 1
    assert SOME_MISSING in exam.warnings


@pytest.mark.parametrize(
    "coordinates",
    [
        (1.0, 2.0),
        (1.0, 2.0, 3.0),
        (1.0, np.nan, 3.0, 4.0),
        (1.0, np.inf, 3.0, 4.0),
        (3.0, 3.0, 3.0, 3.0),
    ],
)
@pytest.mark.parametrize("every", [True, False])
def test_places_that_make_no_sense(tmp_path, coordinates, every):
    exam = read_lines(tmp_path, [coordinates] * 4 if every else [coordinates, *LINES[1:]])
    assert exam.locations is None
    assert exam.modalities == ("OCT", "IR")
    assert exam.enface[0].spacing_mm == (0.01, 0.01)
    assert exam.warnings == (SOME_MISSING,)


def test_a_plane_among_bscans_has_no_line(tmp_path):
    localizer = infrared(PixelSpacing=FUNDUS_MM)
    kinds = ("LINEAR", "LINEAR", "LINEAR", "TRANSVERSE")
    groups = [
        placed(place(localizer.SOPInstanceUID, line, kind))
        for line, kind in zip(LINES, kinds, strict=True)
    ]
    volume = scan_on(localizer, LINES, PerFrameFunctionalGroupsSequence=Sequence(groups))
    exam = read_with(tmp_path, localizer, volume)
    assert exam.volume.shape == (4, 40, 48)
    assert exam.locations is None
    assert exam.enface[0].spacing_mm == (0.01, 0.01)
    assert SOME_MISSING in exam.warnings


def test_grey_localizer_of_a_frame_without_a_place_is_still_infrared(tmp_path):
    localizer = photograph(PixelSpacing=FUNDUS_MM)
    volume = scan_on(localizer, [*LINES[:3], (3.0, 3.0, 3.0, 3.0)])
    assert read_with(tmp_path, localizer, volume).modalities == ("OCT", "IR")


def test_localizer_that_is_not_there(tmp_path):
    volume = scan_on(infrared(), LINES, SharedFunctionalGroupsSequence=shared(**MEASURES))
    exam = read_exam(save(volume, tmp_path / "oct.dcm"))
    assert exam.locations is None
    assert exam.enface == ()
    assert exam.warnings == (NOT_FOUND,)
    assert exam.scan_pattern == "raster"  # its lines are known, only the image is not


class TestTransverse:
    PLANES = np.random.default_rng(3).integers(0, 256, (5, 8, 12), dtype=np.uint8)
    BOX = (10.0, 20.0, 50.0, 68.0)  # corners; rows 5 pixels apart, columns 4

    def read(self, folder, depths, **elements):
        localizer = infrared(PixelSpacing=FUNDUS_MM)
        groups = [
            placed(
                place(
                    localizer.SOPInstanceUID, self.BOX, "TRANSVERSE", DepthOfTransverseImage=depth
                )
            )
            for depth in depths
        ]
        volume = scan_on(
            localizer,
            [],
            self.PLANES,
            SharedFunctionalGroupsSequence=shared(PixelSpacing=[0.05, 0.04]),
            PerFrameFunctionalGroupsSequence=Sequence(groups),
            **elements,
        )
        return read_with(folder, localizer, volume)

    def test_planes_become_bscans(self, tmp_path):
        exam = self.read(tmp_path, [10.0, 14.0, 18.0, 22.0, 26.0])
        assert exam.volume.shape == (8, 5, 12)
        np.testing.assert_array_equal(exam.volume.voxels[2, 3], self.PLANES[3, 2])
        assert exam.volume.spacing_mm == pytest.approx((0.05, 0.004, 0.04))
        np.testing.assert_allclose(exam.locations.polylines[0], [(12, 21.5), (12, 65.5)], atol=1e-4)
        np.testing.assert_allclose(exam.locations.polylines[7], [(47, 21.5), (47, 65.5)], atol=1e-4)
        assert exam.scan_pattern == "raster"
        assert exam.warnings == ()

    def test_deepest_plane_first(self, tmp_path):
        exam = self.read(tmp_path, [26.0, 22.0, 18.0, 14.0, 10.0])
        np.testing.assert_array_equal(exam.volume.voxels[2, 0], self.PLANES[4, 2])

    def test_uneven_depths(self, tmp_path):
        exam = self.read(tmp_path, [10.0, 14.0, 20.0, 22.0, 26.0])
        assert exam.volume.spacing_mm == (0.05, None, 0.04)
        assert UNEVEN_DEPTHS in exam.warnings

    def test_step_of_an_unlikely_size(self, tmp_path):
        exam = self.read(tmp_path, [0.010, 0.014, 0.018, 0.022, 0.026])  # millimetres
        assert exam.volume.spacing_mm == (0.05, None, 0.04)


def test_frames_and_groups_of_different_number(tmp_path):
    with pytest.raises(Exception, match="describes 3 frames but states 4"):
        read_lines(tmp_path, LINES[:3], voxels=np.zeros((4, 40, 48), np.uint8))


def test_one_place_for_all_frames_in_the_shared_groups(tmp_path):
    localizer = infrared(PixelSpacing=FUNDUS_MM)
    group = placed(place(localizer.SOPInstanceUID, LINES[0]))
    group.PixelMeasuresSequence = pixel_measures(**MEASURES).PixelMeasuresSequence
    volume = scan_on(
        localizer,
        LINES,
        SharedFunctionalGroupsSequence=Sequence([group]),
        PerFrameFunctionalGroupsSequence=None,
    )
    exam = read_with(tmp_path, localizer, volume)
    assert exam.scan_pattern == "line"
    assert len(exam.locations.polylines) == 4
    assert exam.volume.spacing_mm[0] is None
