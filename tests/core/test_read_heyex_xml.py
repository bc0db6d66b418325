"""Heidelberg's XML export: what its pictures and the XML say, for every series; no trust in either."""

from __future__ import annotations

import random

import numpy as np
import pytest
from heyex_files import (
    PATIENT,
    circle,
    radial,
    raster,
    read_or_refuse,
    refusal,
    write_xml,
    xml_series,
)
from PIL import Image

from octcube_core.readers import find_exams, read_exam, read_exams


@pytest.fixture
def export(tmp_path):
    return write_xml(tmp_path / "scan.xml", xml_series(tmp_path, raster()))


def assert_agrees(exam, volume):
    np.testing.assert_array_equal(exam.volume.voxels, volume.data)
    assert exam.volume.spacing_mm == pytest.approx(
        (volume.scale_z, volume.scale_y, volume.scale_x), rel=1e-6
    )
    np.testing.assert_array_equal(exam.enface[0].pixels, volume.localizer.data)
    assert exam.enface[0].spacing_mm == (volume.localizer.scale_y, volume.localizer.scale_x)
    assert exam.laterality == volume.laterality
    for line, bscan in zip(exam.locations.polylines, volume, strict=True):
        places = np.array([bscan.meta["start_pos"], bscan.meta["end_pos"]])[:, ::-1]
        np.testing.assert_allclose(line, places / exam.enface[0].spacing_mm, atol=1e-9)


def test_the_sample(real_data):
    from eyepy.io.he.xml_reader import HeXmlReader

    path = real_data / "heyex_xml/test_dummy.xml"
    exam = read_exam(path)
    assert exam.volume.shape == (10, 40, 50)
    assert exam.volume.spacing_mm == pytest.approx((0.031444, 0.003872, 0.011819), abs=1e-6)
    assert (exam.laterality, exam.scan_pattern) == ("OD", "raster")
    assert exam.device == "Heidelberg Engineering Spectralis"
    assert_agrees(exam, HeXmlReader(path).volume)


def test_a_raster_agrees_with_eyepy(export):
    from eyepy.io.he.xml_reader import HeXmlReader

    exam = read_exam(export)
    assert exam.warnings == ()
    assert_agrees(exam, HeXmlReader(export).volume)


def test_several_series_are_several_exams(tmp_path):
    path = write_xml(
        tmp_path / "scan.xml",
        xml_series(tmp_path, raster(3), prefix="a"),
        xml_series(tmp_path, radial(eye="OS"), "Radial", "b"),
        xml_series(tmp_path, circle("OS"), "Circle", "c", source="BAF"),
        xml_series(tmp_path, raster(1), "Line", "d"),
    )
    found = list(find_exams(path))
    assert [entry.part for entry in found] == [
        "OD, series 1",
        "OS, series 2",
        "OS, series 3",
        "OD, series 4",
    ]
    assert [entry.shape for entry in found][:2] == [(3, 24, 40), (6, 24, 40)]
    assert found[2].modalities == ("OCT", "FAF")
    exams = list(read_exams(path))
    assert [exam.scan_pattern for exam in exams] == ["raster", "radial", "circle", "line"]
    assert [exam.laterality for exam in exams] == ["OD", "OS", "OS", "OD"]
    assert [exam.volume.spacing_mm[0] for exam in exams] == [pytest.approx(0.12), None, None, None]
    assert exams[2].enface[0].modality == "FAF"
    assert len(exams[2].locations.polylines[0]) == 40
    assert all(exam.warnings == () for exam in exams)


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [
        ("utf-8-sig", "utf-8"),
        ("utf-16", "utf-16"),
        ("utf-16", None),
        ("utf-16-le", None),
        ("cp1252", None),
        ("cp1252", "utf-8"),
        ("iso-8859-1", "iso-8859-1"),
    ],
)
def test_encodings(tmp_path, encoding, declared):
    series = xml_series(tmp_path, raster(2))
    names = ("Müller", "Zoë", "7")
    path = write_xml(tmp_path / "a.xml", series, encoding=encoding, declared=declared, names=names)
    assert read_exam(path).patient.name == "Müller, Zoë"


def test_identity_is_in_the_patient_alone(export):
    exam = read_exam(export)
    assert exam.patient.name == "Quagga, Zebedee"
    assert (exam.patient.birth_date, exam.patient.exam_date) == ("1943-11-27", "2024-02-29")
    told = repr(exam) + "".join(exam.warnings) + str(exam.device) + next(find_exams(export)).name
    assert not any(word in told for word in PATIENT)


def test_a_missing_picture_is_named(export):
    (export.parent / "B3.tif").unlink()
    assert "B3.tif" in refusal(export)


def test_one_picture_for_two_bscans(export):
    export.write_text(export.read_text().replace("B3.tif", "B2.tif"))
    assert "B2.tif for two" in refusal(export)


def test_the_suffix_may_differ_in_case(export):
    (export.parent / "B3.tif").rename(export.parent / "B3.TIF")
    assert read_exam(export).volume.shape == (5, 24, 40)


def test_pictures_of_another_size(export):
    Image.new("L", (41, 24)).save(export.parent / "B3.tif")
    assert "B3.tif" in refusal(export)


def test_a_truncated_picture(export):
    picture = export.parent / "B3.tif"
    picture.write_bytes(picture.read_bytes()[:600])
    assert "B3.tif" in refusal(export)


def test_rescaled_pictures_have_no_spacing(export):
    text = export.read_text().replace("<Width>40</Width>", "<Width>80</Width>")
    export.write_text(text)
    exam = read_exam(export)
    assert exam.volume.spacing_mm[1:] == (None, None)
    assert "size" in exam.warnings[0]


def test_addresses_lead_nowhere_else(tmp_path, export):
    secret = tmp_path / "above.tif"
    inner = tmp_path / "inner"
    inner.mkdir()
    (export.parent / "B0.tif").rename(secret)
    text = export.read_text().replace("\\\\server\\share\\B0.tif", "../above.tif")
    path = inner / "scan.xml"
    path.write_text(text)
    for name in ("B1.tif", "B2.tif", "B3.tif", "B4.tif", "IR.tif"):
        (export.parent / name).rename(inner / name)
    assert "above.tif, which is missing" in refusal(path)


@pytest.mark.parametrize("name", ["", "..", "share\\", "a/.."])
def test_addresses_without_a_name(export, name):
    export.write_text(export.read_text().replace("\\\\server\\share\\B0.tif", name))
    assert refusal(export).startswith("scan.xml lists an image")


def test_entities_are_refused(tmp_path):
    bomb = '<!DOCTYPE HEDX [<!ENTITY a "aaaaaaaaaa">' + "".join(
        f'<!ENTITY {after} "{f"&{before};" * 10}">'
        for before, after in zip("abcdefgh", "bcdefghi", strict=True)
    )
    path = tmp_path / "scan.xml"
    path.write_text(f"{bomb}]><HEDX>&i;</HEDX>")
    assert "no Heidelberg XML export" in refusal(path)


@pytest.mark.parametrize("body", ["<a>" * 100, "<a/>" * 250_000, "", "<BODY></BODY></HEDX>"])
def test_other_trees(tmp_path, body):
    path = tmp_path / "scan.xml"
    path.write_text(f"<HEDX>{body}")
    refusal(path)


def test_truncated_at_any_byte(export):
    content = export.read_bytes()
    for cut in range(20, len(content), 61):
        export.write_bytes(content[:cut])
        refusal(export)


def test_flipped_bytes(export):
    content, chance = export.read_bytes(), random.Random(8)
    outcomes = []
    for _ in range(150):
        mutated = bytearray(content)
        mutated[chance.randrange(len(content))] ^= chance.randrange(1, 256)
        export.write_bytes(mutated)
        exam = read_or_refuse(export)
        outcomes.append(exam is not None)
        assert exam is None or exam.volume.shape[1:] == (24, 40)
    assert 10 < sum(outcomes) < 140
