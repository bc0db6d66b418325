"""Whom a report names: nobody unless it is asked for, and then in any script."""

from __future__ import annotations

import dataclasses

import pytest
from report_pages import Page, both, pdf_content, pdf_text

from octcube_core.exam import Exam, Patient
from octcube_core.report import html_text, make_report, pdf_bytes
from octcube_core.results import Analysis

SECRETS = ("Zebedee", "Quagga", "PID-993311", "19431127", "1943-11-27", "20240229", "Walrus")


def test_identity_is_nowhere_unless_asked_for(
    known_exam: Exam, known_analysis: Analysis, tmp_path
) -> None:
    exam = dataclasses.replace(known_exam, source=tmp_path / "Walrus.dcm")
    report = make_report(exam, known_analysis)
    files = (html_text(report).encode(), pdf_content(pdf_bytes(report)))
    for secret in (*SECRETS, "2024", "1943"):
        assert not any(secret.encode() in content for content in files), secret
    assert not any(secret in repr(report) for secret in SECRETS)


def test_identity_is_there_when_asked_for(known_exam: Exam, known_analysis: Analysis) -> None:
    report = make_report(known_exam, known_analysis, identity=True)
    for text in both(report):
        for words in ("Name Zebedee, Quagga", "Patient ID PID-993311", "19431127", "20240229"):
            assert words in text
    content = pdf_content(pdf_bytes(report))
    assert (
        content.count(b"PID-993311") == 2
    )  # in the text and in a stream, so the search above finds


@pytest.mark.parametrize(
    ("name", "html", "pdf"),
    [
        ("Müller-Łęcki^Žofia", "Müller-Łęcki, Žofia", "Müller-Łęcki, Žofia"),
        ("Παπαδοπούλου^Ελένη", "Παπαδοπούλου, Ελένη", "Παπαδοπούλου, Ελένη"),
        ("Дмитриева", "Дмитриева", "Дмитриева"),
        ("Yamada^Tarou=山田^太郎", "Yamada, Tarou · 山田, 太郎", "Yamada, Tarou · 山田, 太郎"),
        ("김^희중", "김, 희중", "김, 희중"),
        ("ไทย", "ไทย", "□□□"),  # no font of the PDF has it
        ("\x1b<b>&\x00x", "<b>&", "<b>&"),
        ("x" * 300, "x" * 300, "x" * 20),
    ],
)
def test_names_of_any_script_are_text(
    known_exam: Exam, known_analysis: Analysis, name: str, html: str, pdf: str
) -> None:
    exam = dataclasses.replace(known_exam, patient=Patient(name))
    report = make_report(exam, known_analysis, identity=True)
    assert html in Page(html_text(report)).text
    assert pdf in pdf_text(pdf_bytes(report))


def test_hebrew_stands_from_right_to_left_beside_a_number(
    known_exam: Exam, known_analysis: Analysis
) -> None:
    from octcube_core.report.fonts import runs

    assert "".join(text for _, text in runs("ID שלום עולם 12")) == "ID םלוע םולש 12"
