"""Which fundus images belong to a DICOM volume, and what kind they are."""

from __future__ import annotations

import numpy as np
import pytest
from dicom_files import (
    PIXELS,
    STUDY,
    infrared,
    item,
    opt,
    photograph,
    save,
    scan_on,
    sequence,
    shared,
)
from pydicom import uid
from pydicom.sequence import Sequence

from octcube_core.errors import ExamReadError
from octcube_core.readers import dicom, read_exam
from octcube_core.readers.dicom_exam import UNREADABLE_FUNDUS
from octcube_core.readers.dicom_neighbours import NOT_FOUND, NOT_SAME_EYE

LINES = [(10.5 + 8 * i, 12.5, 10.5 + 8 * i, 59.5) for i in range(4)]
FAF = {"ImageType": ["ORIGINAL", "PRIMARY", "", "AUTOFLUORESCENCE"]}


def exam_of(folder, *images, localizer=None, where="ir.dcm", **elements):
    localizer = localizer or infrared()
    save(localizer, folder / where)
    for index, image in enumerate(images):
        save(image, folder / f"other_{index}.dcm")
    return read_exam(save(scan_on(localizer, LINES, **elements), folder / "oct.dcm"))


def test_other_images_of_the_same_exam_follow_the_localizer(tmp_path):
    exam = exam_of(tmp_path, photograph(np.full((9, 9, 3), (9, 8, 7), np.uint8)), photograph(**FAF))
    assert exam.modalities == ("OCT", "IR", "CFP", "FAF")
    assert exam.locations.image == 0


@pytest.mark.parametrize(
    "elements",
    [
        {"ImageLaterality": "R"},
        {"ImageLaterality": None},
        {"PatientID": "another"},
        {"PatientID": ""},
        {"StudyInstanceUID": STUDY + ".7"},
    ],
    ids=["other eye", "no eye", "other patient", "no patient", "other study"],
)
def test_images_of_others_are_never_taken(tmp_path, elements):
    exam = exam_of(tmp_path, photograph(**FAF, **elements))
    assert exam.modalities == ("OCT", "IR")


@pytest.mark.parametrize("elements", [{"ImageLaterality": "R"}, {"PatientID": "another"}])
def test_not_even_if_the_volume_refers_to_them(tmp_path, elements):
    exam = exam_of(tmp_path, localizer=infrared(**elements))
    assert exam.enface == ()
    assert exam.locations is None
    assert NOT_SAME_EYE in exam.warnings


@pytest.mark.parametrize(
    ("elements", "taken"),
    [
        ({"PatientName": "Else^Someone"}, False),
        ({"PatientBirthDate": "19990909"}, False),
        ({"PatientName": "SECRETNAME^Jane^^", "PatientBirthDate": ""}, True),
        ({"PatientName": ""}, True),
        ({"StudyInstanceUID": STUDY + ".7"}, True),  # the volume names the image
    ],
)
@pytest.mark.parametrize("number", ["", "ID4711"])
def test_names_tell_patients_without_a_number_apart(tmp_path, elements, taken, number):
    exam = exam_of(tmp_path, localizer=infrared(PatientID=number, **elements), PatientID="")
    assert exam.modalities == (("OCT", "IR") if taken else ("OCT",))
    assert (NOT_SAME_EYE in exam.warnings) != taken


@pytest.mark.parametrize("where", ["../ir.dcm", "../fundus/IR0001", "../fundus/ir.dcm"])
def test_localizer_in_another_folder_of_the_export(tmp_path, where):
    exam = exam_of(tmp_path / "oct", where=where)
    assert exam.modalities == ("OCT", "IR")
    assert exam.locations is not None
    listed = read_exam(tmp_path / "oct")  # the folder that does not hold it
    assert listed.modalities == ("OCT", "IR")
    assert listed.locations is not None


def test_image_that_frames_refer_to_without_a_place(tmp_path):
    image = photograph(**FAF, StudyInstanceUID=STUDY + ".7")
    groups = shared(PixelSpacing=[0.004, 0.01])
    groups[0].ReferencedImageSequence = sequence(ReferencedSOPInstanceUID=image.SOPInstanceUID)
    save(image, tmp_path / "faf.dcm")
    exam = read_exam(save(opt(SharedFunctionalGroupsSequence=groups), tmp_path / "oct.dcm"))
    assert exam.modalities == ("OCT", "FAF")
    assert exam.locations is None


def test_damaged_fundus_image_leaves_the_volume(tmp_path):
    localizer = infrared()
    path = save(localizer, tmp_path / "ir.dcm")
    volume = save(scan_on(localizer, LINES), tmp_path / "oct.dcm")
    path.write_bytes(path.read_bytes()[:-500])
    exam = read_exam(volume)
    assert exam.enface == ()
    assert UNREADABLE_FUNDUS in exam.warnings


def test_unrelated_neighbours_do_no_harm(tmp_path):
    for name, content in {"a.dcm": b"", "b.dcm": b"DICM" * 99, "notes.txt": b"hello"}.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "self").symlink_to(tmp_path)
    (tmp_path / "c.dcm").write_bytes(bytes(128) + b"DICM" + b"\xff" * 4000)
    assert exam_of(tmp_path).modalities == ("OCT", "IR")


RGB = np.random.default_rng(4).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_colours(tmp_path):
    exam = exam_of(tmp_path, photograph(RGB))
    np.testing.assert_array_equal(exam.enface[1].pixels, RGB)
    planes = photograph(RGB, PlanarConfiguration=1, PixelData=RGB.transpose(2, 0, 1).tobytes())
    exam = exam_of(tmp_path, planes)
    np.testing.assert_array_equal(exam.enface[1].pixels, RGB)


def test_ybr_and_jpeg_2000_colours(tmp_path):
    grey = np.full((20, 30, 3), 128, np.uint8)
    grey[..., 0] = 77
    grey[:5, :, 2] = 200  # reddish
    exam = exam_of(tmp_path, photograph(grey, PhotometricInterpretation="YBR_FULL"))
    assert (exam.enface[1].pixels[9] == 77).all()
    red, green, blue = exam.enface[1].pixels[0, 0].astype(int)
    assert red > 150
    assert green < 77
    assert blue == 77
    big = np.tile(RGB, (4, 3, 1))
    packed = photograph(big)
    packed.compress(uid.JPEG2000Lossless, generate_instance_uid=False)
    np.testing.assert_array_equal(exam_of(tmp_path, packed).enface[1].pixels, big)


def test_palette_and_inverted_grey(tmp_path):
    table = np.arange(256, dtype=np.uint16)[::-1] * 257
    palette = photograph(
        PIXELS,
        PhotometricInterpretation="PALETTE COLOR",
        **{
            f"{colour}PaletteColorLookupTable{what}": value
            for colour in ("Red", "Green", "Blue")
            for what, value in (("Descriptor", [256, 0, 16]), ("Data", table.tobytes()))
        },
    )
    exam = exam_of(tmp_path, palette)
    assert exam.enface[1].modality == "CFP"
    np.testing.assert_array_equal(exam.enface[1].pixels // 257, 255 - PIXELS)
    exam = exam_of(tmp_path, photograph(PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(exam.enface[1].pixels, 255 - PIXELS)


def test_spacing_of_a_photograph_in_its_groups(tmp_path):
    image = photograph(SharedFunctionalGroupsSequence=shared(PixelSpacing=[0.01, 0.02]))
    assert exam_of(tmp_path, image).enface[1].spacing_mm == (0.01, 0.02)


def test_deep_photograph_of_few_bits_is_not_black(tmp_path):
    pixels = (PIXELS.astype(np.uint16) * 16) | 15
    image = photograph(pixels, BitsStored=12, HighBit=11)
    assert exam_of(tmp_path, image).enface[1].pixels.max() > 60000


class TestAssemble:
    def test_given_images_and_their_kinds(self, tmp_path):
        localizer, other = infrared(), photograph(StudyInstanceUID="1.2.3")
        ir = save(localizer, tmp_path / "a" / "ir.dcm")
        faf = save(other, tmp_path / "b" / "x.dcm")
        oct_file = save(scan_on(localizer, LINES), tmp_path / "c" / "oct.dcm")
        exam = dicom.assemble(oct_file, [faf, ir], {faf: "FAF"})
        assert exam.modalities == ("OCT", "IR", "FAF")  # that of the places first
        assert exam.locations.image == 0

    def test_nothing_else_is_looked_for(self, tmp_path):
        localizer = infrared()
        save(localizer, tmp_path / "ir.dcm")
        oct_file = save(scan_on(localizer, LINES), tmp_path / "oct.dcm")
        exam = dicom.assemble(oct_file, [])
        assert exam.enface == ()
        assert NOT_FOUND in exam.warnings

    def test_image_of_the_other_eye(self, tmp_path):
        other = save(photograph(ImageLaterality="R"), tmp_path / "faf.dcm")
        exam = dicom.assemble(save(opt(), tmp_path / "oct.dcm"), [other])
        assert exam.enface == ()
        assert any("other" in warning and "eye" in warning for warning in exam.warnings)

    def test_image_of_another_study_without_a_patient(self, tmp_path):
        other = save(photograph(StudyInstanceUID=STUDY + ".7"), tmp_path / "faf.dcm")
        volume = save(opt(StudyInstanceUID=STUDY, PatientID=""), tmp_path / "oct.dcm")
        assert dicom.assemble(volume, [other]).enface == ()

    def test_missing_image(self, tmp_path):
        exam = dicom.assemble(save(opt(), tmp_path / "oct.dcm"), [tmp_path / "nowhere.dcm"])
        assert UNREADABLE_FUNDUS in exam.warnings


def test_opening_a_photograph_names_its_oct_file(tmp_path):
    localizer = infrared()
    path = save(localizer, tmp_path / "ir.dcm")
    with pytest.raises(ExamReadError, match="open the OCT file of the same exam"):
        read_exam(path)
    save(opt(StudyInstanceUID="1.2"), tmp_path / "a_stranger.dcm")
    save(scan_on(localizer, LINES), tmp_path / "volume.dcm")
    with pytest.raises(ExamReadError, match=r"open volume\.dcm, which belongs to it"):
        read_exam(path)


def test_contradicting_eyes_are_unknown_and_said(tmp_path):
    groups = shared(PixelSpacing=[0.004, 0.01], SpacingBetweenSlices=0.1)
    groups[0].FrameAnatomySequence = Sequence([item(FrameLaterality="R")])
    exam = read_exam(save(opt(SharedFunctionalGroupsSequence=groups), tmp_path / "oct.dcm"))
    assert exam.laterality is None
    assert any("both eyes" in warning for warning in exam.warnings)
