"""What kind of image a DICOM photograph is."""

from __future__ import annotations

import numpy as np
import pytest
from dicom_files import EN_FACE, PIXELS, STUDY, code, opt, photograph, save, scan_on

from octcube_core.readers import read_exam
from octcube_core.readers.dicom_enface import ONE_COLOUR

LINES = [(10.5 + 8 * i, 12.5, 10.5 + 8 * i, 59.5) for i in range(4)]
FAF = {"ImageType": ["ORIGINAL", "PRIMARY", "", "AUTOFLUORESCENCE"]}


def exam_on(localizer, folder):
    save(localizer, folder / "ir.dcm")
    return read_exam(save(scan_on(localizer, LINES), folder / "oct.dcm"))


@pytest.mark.parametrize(
    ("elements", "modality", "guessed"),
    [
        ({"ChannelDescriptionCodeSequence": code("414497003", "Infrared")}, "IR", False),
        (
            {"LightPathFilterTypeStackCodeSequence": code("445169002", "Infrared optical filter")},
            "IR",
            False,
        ),
        ({"ChannelDescriptionCodeSequence": code("R-102BE", "x", "SRT")}, "IR", False),
        ({"IlluminationWaveLength": 820.0}, "IR", False),
        ({"SeriesDescription": "SLO NIR 30deg"}, "IR", False),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "", "IR"]}, "IR", False),
        (FAF, "FAF", False),
        ({"SeriesDescription": "BAF_55"}, "FAF", False),
        ({"SeriesDescription": "IR-AF, autofluorescence"}, "FAF", False),
        ({"ProtocolName": "FA early phase"}, "FA", False),
        ({"ContentDescription": "Indocyanine green"}, "ICGA", False),
        (
            {"ContrastBolusAgentSequence": code("35321007", "Fluorescein")},
            "FA",
            False,
        ),
        ({"ContentDescription": "color fundus photo, green channel"}, "CFP", False),
        ({}, "CFP", True),
        (
            {
                "AcquisitionDeviceTypeCodeSequence": code(
                    "392001008", "Scanning Laser Ophthalmoscope"
                )
            },
            "IR",
            True,
        ),
        ({"SOPClassUID": EN_FACE}, "OCT", False),
    ],
)
def test_kind_of_image(tmp_path, elements, modality, guessed):
    save(photograph(**elements), tmp_path / "image.dcm")
    exam = read_exam(save(opt(StudyInstanceUID=STUDY), tmp_path / "oct.dcm"))
    assert exam.modalities == ("OCT", modality)
    assert any("does not state its kind" in warning for warning in exam.warnings) == guessed


@pytest.mark.parametrize(
    ("value", "modality"),
    [("IR", "IR"), ("AF", "FAF"), ("FAF", "FAF"), ("FA", "FA"), ("ICG", "ICGA"), ("COLOR", "CFP")],
)
@pytest.mark.parametrize("pixels", [PIXELS, np.full((9, 9, 3), (9, 8, 7), np.uint8)])
def test_image_type_counts_before_all_else(tmp_path, value, modality, pixels):
    kind = {"ImageType": ["ORIGINAL", "PRIMARY", "", value], "SeriesDescription": "FA, IR, color"}
    save(photograph(pixels, **kind), tmp_path / "image.dcm")
    exam = read_exam(save(opt(StudyInstanceUID=STUDY), tmp_path / "oct.dcm"))
    assert exam.modalities == ("OCT", modality)
    assert not any("fundus image" in warning for warning in exam.warnings)


@pytest.mark.parametrize(
    "elements",
    [
        *({"ImageType": ["ORIGINAL", "PRIMARY", "", v]} for v in ("RED", "REDFREE", "BLUE")),
        {"ImageType": ["ORIGINAL", "PRIMARY", "", "GREEN"]},
        {"ChannelDescriptionCodeSequence": code("405739002", "?")},
        {"LightPathFilterTypeStackCodeSequence": code("445084008", "Blue optical filter")},
        {"SeriesDescription": "Red-free 30"},
        {"IlluminationWaveLength": 488.0},
    ],
)
def test_light_of_one_colour_is_not_infrared(tmp_path, elements):
    slo = code("392001008", "Scanning Laser Ophthalmoscope")
    localizer = photograph(AcquisitionDeviceTypeCodeSequence=slo, **elements)
    exam = exam_on(localizer, tmp_path)
    assert exam.modalities == ("OCT", "CFP")
    assert ONE_COLOUR in exam.warnings


@pytest.mark.parametrize(
    ("light", "barrier", "modality"),
    [
        ("445084008", "445340000", "FAF"),
        ("445465004", "445279009", "FAF"),
        ("445465004", "445465004", "CFP"),
        ("445084008", "111609", "CFP"),
        ("445169002", "445169002", "IR"),
    ],
)
def test_filters_tell_autofluorescence_from_reflectance(tmp_path, light, barrier, modality):
    filters = {
        "LightPathFilterTypeStackCodeSequence": code(light, "?"),
        "ImagePathFilterTypeStackCodeSequence": code(barrier, "?"),
    }
    assert exam_on(photograph(**filters), tmp_path).modalities == ("OCT", modality)


def test_grey_localizer_of_no_stated_kind_is_taken_for_infrared(tmp_path):
    exam = exam_on(photograph(), tmp_path)
    assert exam.modalities == ("OCT", "IR")
    assert any("taken for infrared" in warning for warning in exam.warnings)
