"""What the tab Report does, without the tab: pages, files, and whom they name."""

import csv
import dataclasses
import io
import json

import numpy as np
import pydicom
import pypdf
import pytest
import tifffile
from fakes import make_analysis, make_exam

from napari_octcube import _report_files
from napari_octcube._report_files import KINDS, make_page, save_file
from napari_octcube._reporting import NO_ANALYSIS, NO_EXAM, Reporting
from octcube_core.exam import Patient
from octcube_core.readers import read_exam
from octcube_core.writers import write_exam

PATIENT = Patient("Zebedee^Quagga", "PID-993311", "19431127", "20240229")
SECRETS = (b"Zebedee", b"Quagga", b"PID-993311", b"19431127", b"20240229")


def patient_exam(**changes):
    return dataclasses.replace(make_exam(), patient=PATIENT, **changes)


def text_of(path):
    (page,) = pypdf.PdfReader(io.BytesIO(path.read_bytes())).pages
    return " ".join(page.extract_text().split())


@pytest.fixture
def reporting(session, owner):
    return Reporting(session, owner)


@pytest.fixture
def analysed(session):
    """A function that shows an exam with its analysis."""

    def show(exam=None):
        exam = exam or patient_exam()
        session.show_exam(exam)
        session.begin(exam)
        session.finish(exam, make_analysis(exam))
        return exam

    return show


def test_nothing_is_made_before_somebody_looks(reporting, analysed, owner, monkeypatch):
    made = []
    monkeypatch.setattr("napari_octcube._reporting.make_page", lambda *_: made.append(1))
    analysed()
    owner.run_pending()
    assert (made, reporting.state.page, reporting.state.busy) == ([], None, "")
    reporting.want(True)
    owner.run_until(lambda: not reporting.state.busy)
    assert made == [1]


def test_the_page_is_that_of_the_exam_in_view(reporting, analysed, session, owner):
    reporting.want(True)
    analysed()
    owner.run_until(lambda: reporting.state.page is not None)
    first = reporting.state.page
    assert first.shape[:2] == pytest.approx((1754, 1240), abs=1)  # A4 at 150 pixels per inch
    analysed(dataclasses.replace(patient_exam(), laterality="OS"))
    assert reporting.state.page is None  # at once, not when the next one is made
    owner.run_until(lambda: reporting.state.page is not None)
    assert (reporting.state.page != first).any()
    session.close_exam(session.exam)
    assert reporting.state.page is None


def test_a_page_that_comes_late_is_not_shown_with_another_exam(
    reporting, analysed, session, owner, monkeypatch
):
    pages = {"OD": np.zeros((9, 9, 3), np.uint8), "OS": np.ones((9, 9, 3), np.uint8)}
    monkeypatch.setattr(
        "napari_octcube._reporting.make_page", lambda exam, *_: pages[exam.laterality]
    )
    waiting = []
    monkeypatch.setattr(
        reporting, "_in_background", lambda work, done, _: waiting.append((work, done))
    )
    reporting.want(True)
    analysed()
    analysed(patient_exam(laterality="OS"))
    for work, done in reversed(waiting):  # the first one comes last
        done(work())
    assert reporting.state.page is pages["OS"]


def test_identity_is_off_again_for_each_exam(reporting, analysed, session):
    analysed()
    reporting.set_identity(True)
    analysed()
    assert not reporting.state.identity
    reporting.set_identity(True)
    session.show_exam(None)
    assert not reporting.state.identity


@pytest.mark.parametrize("kind", ["pdf", "html", "csv", "json", "tiff"])
def test_every_kind_is_saved_without_identity(reporting, analysed, owner, tmp_path, kind):
    analysed()
    path = tmp_path / KINDS[kind].name
    path.write_bytes(b"older")
    reporting.save(kind, path)
    owner.run_until(lambda: reporting.state.news)
    assert reporting.state.news == f"Saved: {path.name}."
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == [path.name]
    content = path.read_bytes()
    assert len(content) > 200
    if kind == "pdf":
        assert "Diabetic macular edema" in text_of(path)
        content += text_of(path).encode()
    assert not [secret for secret in SECRETS if secret in content]


@pytest.mark.parametrize("kind", ["pdf", "html"])
def test_identity_is_saved_when_ticked_and_that_is_said(reporting, analysed, owner, tmp_path, kind):
    analysed()
    reporting.set_identity(True)
    path = tmp_path / KINDS[kind].name
    reporting.save(kind, path)
    owner.run_until(lambda: reporting.state.news)
    assert reporting.state.news == f"Saved: {path.name}. It names the patient."
    text = text_of(path) if kind == "pdf" else path.read_text(encoding="utf-8")
    for words in ("Zebedee, Quagga", "PID-993311", "19431127", "20240229"):
        assert words in text


@pytest.mark.parametrize("kind", ["csv", "json", "tiff"])
def test_what_never_names_the_patient_does_not_when_ticked(
    reporting, analysed, owner, tmp_path, kind
):
    analysed()
    reporting.set_identity(True)
    path = tmp_path / KINDS[kind].name
    reporting.save(kind, path)
    owner.run_until(lambda: reporting.state.news)
    assert "names the patient" not in reporting.state.news
    assert not [secret for secret in SECRETS if secret in path.read_bytes()]


def test_scores_and_maps_are_those_of_the_analysis(analysed, session, tmp_path):
    exam = analysed()
    analysis = session.analysis
    for kind in ("csv", "json", "tiff"):
        save_file(kind, tmp_path / KINDS[kind].name, exam, analysis, "DME", False)
    with (tmp_path / "scores.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["abbreviation"] for row in rows] == ["DME", "PVD", "AMD", ""]
    scores = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert scores["diseases"][0]["probability"] == 0.91
    assert "files" not in scores
    maps = tifffile.imread(tmp_path / "saliency.ome.tif")
    np.testing.assert_array_equal(maps, analysis.saliency)


def test_dicom_is_of_the_selected_disease_and_names_the_patient_only_when_ticked(
    reporting, analysed, session, owner, tmp_path
):
    write_exam(patient_exam(), tmp_path / "source", "dicom", keep_identity=True)
    analysed(read_exam(tmp_path / "source" / "oct.dcm"))
    session.disease = "AMD"
    assert reporting.why_not("dicom") == ""
    for identity in (False, True):
        reporting.set_identity(identity)
        reporting.state.news = ""
        path = tmp_path / "saliency.dcm"
        reporting.save("dicom", path)
        owner.run_until(lambda: reporting.state.news)
        assert reporting.state.news.startswith("Saved")
        mapping = pydicom.dcmread(path).SharedFunctionalGroupsSequence[0]
        assert mapping.RealWorldValueMappingSequence[0].LUTLabel == "AMD"
        assert (b"PID-993311" in path.read_bytes()) is identity


def test_what_cannot_be_saved_is_said(reporting, analysed, session, owner, tmp_path):
    assert reporting.why_not("pdf") == NO_EXAM
    session.show_exam(make_exam())
    assert reporting.why_not("json") == NO_ANALYSIS
    analysed()
    assert "read from another format (test)" in reporting.why_not("dicom")
    reporting.save("dicom", tmp_path / "a.dcm")
    assert "another format" in reporting.state.news
    reporting.state.news = ""
    reporting.save("pdf", tmp_path / "no folder" / "a.pdf")
    owner.run_until(lambda: reporting.state.news)
    assert reporting.state.news == "Cannot save this (No such file or directory)."
    assert reporting.state.busy == ""
    assert [path for path in tmp_path.iterdir() if path.is_file()] == []


def test_a_failure_leaves_the_older_file(analysed, session, tmp_path, monkeypatch):
    def half(path, exam, analysis):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    exam = analysed()
    monkeypatch.setattr("octcube_core.saliency_file.write_saliency", half)
    path = tmp_path / "saliency.ome.tif"
    path.write_bytes(b"older")
    with pytest.raises(OSError, match="No space"):
        save_file("tiff", path, exam, session.analysis, "DME", False)
    assert path.read_bytes() == b"older"
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == [path.name]


def test_a_bug_does_not_leave_the_tab_busy(reporting, analysed, owner, monkeypatch):
    def wrong(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("napari_octcube._reporting.make_page", wrong)
    reporting.want(True)
    analysed()
    owner.run_until(lambda: reporting.state.news)
    assert "did not work (ZeroDivisionError)" in reporting.state.news
    assert reporting.state.busy == ""


def test_the_page_is_rendered_by_one_thread_at_a_time(session, analysed):
    exam = analysed()
    assert not _report_files._PDFIUM.locked()
    page = make_page(exam, session.analysis, False)
    assert page.flags["C_CONTIGUOUS"]
    assert not _report_files._PDFIUM.locked()
