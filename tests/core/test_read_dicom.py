from __future__ import annotations

import numpy as np
import pytest
from dicom_files import VOXELS, item, opt, pixel_measures, save, sequence, shared
from pydicom import uid
from pydicom.sequence import Sequence

from octcube_core.errors import ExamReadError
from octcube_core.readers import read_exam
from octcube_core.readers.dicom_geometry import THICKNESS_ONLY
from octcube_core.readers.dicom_measures import (
    NOT_OF_FRAMES,
    PLANES_CONTRADICT,
    TOO_LARGE,
    UNEVEN_PLANES,
    UNEVEN_SPACING,
)

SECRETS = ("Secretname", "ID4711", "1950", "2024", "Secretclinic")


@pytest.fixture
def write(tmp_path):
    def write(dataset, name="scan.dcm"):
        dataset.save_as(tmp_path / name, enforce_file_format=True)
        return tmp_path / name

    return write


def test_ophthalmic_tomography(write):
    exam = read_exam(write(opt()))
    np.testing.assert_array_equal(exam.volume.voxels, VOXELS)
    assert exam.volume.spacing_mm == (0.122, 0.00387, 0.0058)
    assert exam.laterality == "OS"
    assert exam.device == "Heidelberg Engineering Spectralis"
    assert exam.format == "DICOM"
    assert exam.warnings == ()


def test_identity_stays_with_the_patient(write):
    exam = read_exam(write(opt(SharedFunctionalGroupsSequence=None)))
    assert exam.patient.name == "Secretname^Jane"
    assert exam.patient.id == "ID4711"
    assert (exam.patient.birth_date, exam.patient.exam_date) == ("1950-01-02", "2024-03-04")
    told = repr((exam.warnings, exam.device, exam))
    assert not [secret for secret in SECRETS if secret in told]


def test_errors_and_stderr_tell_no_identity(write, capfd, recwarn):
    # an identity in places where pydicom expects something else and quotes what it found
    path = write(opt())
    path.write_bytes(path.read_bytes().replace(b"0.00387\\0.0058", b"Secretname4711"))
    exam = read_exam(path)
    assert exam.volume.spacing_mm == (0.122, None, None)
    with pytest.raises(ExamReadError, match=r"scan\.dcm") as error:
        read_exam(write(opt(PhotometricInterpretation="SECRETNAME")))
    told = str((error.value, exam.warnings, [str(w.message) for w in recwarn]))
    assert "secretname" not in (told + capfd.readouterr().err).lower()


def test_pixel_measures_in_the_per_frame_groups(write):
    frames = [pixel_measures(PixelSpacing=[0.004, 0.006], SliceThickness=0.1) for _ in VOXELS]
    exam = read_exam(
        write(
            opt(
                SharedFunctionalGroupsSequence=None,
                PerFrameFunctionalGroupsSequence=Sequence(frames),
            )
        )
    )
    assert exam.volume.spacing_mm == (None, 0.004, 0.006)
    assert THICKNESS_ONLY in exam.warnings


def test_frames_of_different_spacing_have_no_common_one(write):
    frames = [pixel_measures(PixelSpacing=[0.004, 0.006 + 0.001 * i]) for i in range(len(VOXELS))]
    exam = read_exam(
        write(
            opt(
                SharedFunctionalGroupsSequence=None,
                PerFrameFunctionalGroupsSequence=Sequence(frames),
            )
        )
    )
    assert exam.volume.spacing_mm == (None, 0.004, None)
    assert UNEVEN_SPACING in exam.warnings


def plane_groups(positions, orientations):
    return Sequence(
        item(
            PlanePositionSequence=sequence(ImagePositionPatient=list(position)),
            PlaneOrientationSequence=sequence(ImageOrientationPatient=list(orientation)),
        )
        for position, orientation in zip(positions, orientations, strict=True)
    )


def test_distance_of_the_planes_of_a_raster(write):
    groups = plane_groups([(0.5 * i, 0, 0.25 * i) for i in range(4)], [(1, 0, 0, 0, 1, 0)] * 4)
    exam = read_exam(
        write(
            opt(
                SharedFunctionalGroupsSequence=shared(
                    PixelSpacing=[0.004, 0.006], SliceThickness=9.0
                ),
                PerFrameFunctionalGroupsSequence=groups,
            )
        )
    )
    assert exam.volume.spacing_mm == (0.25, 0.004, 0.006)  # along the normal, not the diagonal
    assert exam.scan_pattern == "raster"
    assert exam.warnings == ()


@pytest.mark.parametrize(
    ("positions", "orientations"),
    [
        ([(0, 0, z) for z in (0, 0.1, 0.5, 0.6)], [(1, 0, 0, 0, 1, 0)] * 4),
        (
            [(0, 0, 0.1 * i) for i in range(4)],
            [(np.cos(a), 0, np.sin(a), 0, 1, 0) for a in (0, 0.5, 1, 1.5)],
        ),
    ],
    ids=["uneven", "radial"],
)
def test_uneven_or_turning_planes_have_no_common_distance(write, positions, orientations):
    exam = read_exam(
        write(
            opt(
                SharedFunctionalGroupsSequence=shared(PixelSpacing=[0.004, 0.006]),
                PerFrameFunctionalGroupsSequence=plane_groups(positions, orientations),
            )
        )
    )
    assert exam.volume.spacing_mm == (None, 0.004, 0.006)
    assert exam.scan_pattern is None
    assert "distance between B-scans" in exam.warnings[0]


@pytest.mark.parametrize(
    ("places", "told"),
    [
        ((0, 0.1, 0.2, 0.3), PLANES_CONTRADICT),
        ((0, 0.3, 0.5, 0.6), UNEVEN_PLANES),
        ((0.5, 0.5, 0.5, 0.5), UNEVEN_PLANES),
    ],
    ids=["other distance", "uneven", "at one place"],
)
def test_positions_that_contradict_the_stated_distance(write, places, told):
    groups = plane_groups([(0, 0, place) for place in places], [(1, 0, 0, 0, 1, 0)] * 4)
    measures = shared(PixelSpacing=[0.004, 0.006], SpacingBetweenSlices=0.3)
    exam = read_exam(
        write(
            opt(
                SharedFunctionalGroupsSequence=measures,
                PerFrameFunctionalGroupsSequence=groups,
            )
        )
    )
    assert exam.volume.spacing_mm == (None, 0.004, 0.006)
    assert exam.warnings == (told,)


def test_rounded_positions_are_even(write):
    groups = plane_groups([(0, 0, round(0.058 * i, 2)) for i in range(4)], [(1, 0, 0, 0, 1, 0)] * 4)
    measures = shared(PixelSpacing=[0.004, 0.006], SpacingBetweenSlices=0.058)
    volume = opt(SharedFunctionalGroupsSequence=measures, PerFrameFunctionalGroupsSequence=groups)
    exam = read_exam(write(volume))
    assert exam.volume.spacing_mm == (0.058, 0.004, 0.006)
    assert exam.warnings == ()


@pytest.mark.parametrize("unit", [1000.0, 0.001], ids=["micrometres", "metres"])
def test_sizes_that_no_oct_has(write, unit):
    measures = {"PixelSpacing": [0.004 * unit, 0.01 * unit], "SpacingBetweenSlices": 0.1 * unit}
    exam = read_exam(write(opt(SharedFunctionalGroupsSequence=shared(**measures))))
    assert exam.volume.spacing_mm == (None, None, None)
    (warning,) = exam.warnings
    assert "no OCT has" in warning


@pytest.mark.parametrize(
    ("shape", "measures"),
    [((1, 1000, 8), [0.04, 0.01]), ((1, 8, 1000), [0.004, 0.1])],
    ids=["deep", "wide"],
)
def test_scans_larger_than_an_eye(write, shape, measures):
    volume = opt(
        np.zeros(shape, np.uint8), SharedFunctionalGroupsSequence=shared(PixelSpacing=measures)
    )
    exam = read_exam(write(volume))
    assert exam.volume.spacing_mm == (None, None, None)
    (warning,) = exam.warnings
    assert warning.endswith(TOO_LARGE.split("width), ")[1])


def test_volumetric_flag_says_raster_and_nothing_else_does(write):
    assert read_exam(write(opt(OphthalmicVolumetricPropertiesFlag="YES"))).scan_pattern == "raster"
    assert read_exam(write(opt(OphthalmicVolumetricPropertiesFlag="NO"))).scan_pattern is None
    assert read_exam(write(opt())).scan_pattern is None


def test_secondary_capture_opens_without_spacing(write):
    exam = read_exam(
        write(
            opt(
                SOPClassUID=uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
                SharedFunctionalGroupsSequence=None,
                ImageLaterality=None,
                PixelSpacing=[1, 1],
            )
        )
    )
    assert exam.volume.shape == VOXELS.shape
    assert exam.volume.spacing_mm == (None, None, None)
    assert exam.laterality is None
    assert exam.warnings == (NOT_OF_FRAMES,)  # and not that the file states none


@pytest.mark.parametrize(
    ("elements", "eye"),
    [
        ({"ImageLaterality": "R"}, "OD"),
        ({"ImageLaterality": "B"}, None),
        ({"ImageLaterality": None, "Laterality": "L"}, "OS"),
        ({"ImageLaterality": "R", "Laterality": "L"}, None),
    ],
)
def test_laterality(write, elements, eye):
    assert read_exam(write(opt(**elements))).laterality == eye


def test_laterality_from_the_frame_anatomy(write):
    groups = shared(PixelSpacing=[0.004, 0.006], SpacingBetweenSlices=0.1)
    groups[0].FrameAnatomySequence = sequence(FrameLaterality="R")
    exam = read_exam(write(opt(ImageLaterality=None, SharedFunctionalGroupsSequence=groups)))
    assert exam.laterality == "OD"


def test_bits_stored_set_black_and_white(write):
    voxels = VOXELS.astype(np.uint16) * 16
    exam = read_exam(write(opt(voxels, BitsStored=12, HighBit=11)))
    assert exam.volume.black_white == (0, 4095)
    np.testing.assert_array_equal(exam.volume.voxels, voxels)


def test_signed_samples_start_at_black(write):
    voxels = VOXELS.astype(np.int16) - 128
    exam = read_exam(write(opt(voxels, BitsStored=8, HighBit=7, PixelRepresentation=1)))
    np.testing.assert_array_equal(exam.volume.voxels, VOXELS)
    assert exam.volume.black_white == (0, 255)


def test_monochrome1_is_inverted(write):
    exam = read_exam(write(opt(PhotometricInterpretation="MONOCHROME1")))
    np.testing.assert_array_equal(exam.volume.voxels, 255 - VOXELS)


def test_grey_stored_as_rgb_is_grey(write):
    rgb = np.stack([VOXELS] * 3, -1)
    dataset = opt(
        PixelData=rgb.tobytes(),
        SamplesPerPixel=3,
        PhotometricInterpretation="RGB",
        PlanarConfiguration=0,
    )
    exam = read_exam(write(dataset))
    np.testing.assert_array_equal(exam.volume.voxels, VOXELS)
    assert exam.warnings == ()


@pytest.mark.parametrize("frames", [1, 4])
@pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEG2000Lossless, uid.JPEGLSLossless])
def test_compressed_files_decode(write, syntax, frames):
    dataset = opt(VOXELS[:frames])
    dataset.compress(syntax, generate_instance_uid=False)
    exam = read_exam(write(dataset))
    np.testing.assert_array_equal(exam.volume.voxels, VOXELS[:frames])


def test_single_frame_has_no_distance_to_the_next(write):
    exam = read_exam(write(opt(VOXELS[:1])))
    assert exam.volume.spacing_mm == (None, 0.00387, 0.0058)
    assert exam.warnings == ()


def test_recognised_without_suffix_and_without_preamble(write):
    assert read_exam(write(opt(), "IM0001")).format == "DICOM"
    path = write(opt(), "bare.dcm")
    path.write_bytes(path.read_bytes()[132:])
    np.testing.assert_array_equal(read_exam(path).volume.voxels, VOXELS)


def test_an_image_of_another_kind_says_so(tmp_path):
    exam = read_exam(save(opt(Modality="CT"), tmp_path / "scan.dcm"))
    assert "The file says that it is no OCT: its modality is CT." in exam.warnings
