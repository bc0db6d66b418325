"""What can be saved of an analysis, and the report as a picture. No Qt; the libraries are imported by the thread."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from octcube_core.exam import Exam
from octcube_core.results import Analysis

PIXELS_PER_INCH = 150
POINTS_PER_INCH = 72

Page = NDArray[np.uint8]  # (rows, columns, 3), RGB

_PDFIUM = threading.Lock()  # it is not made for several threads


@dataclass(frozen=True)
class Kind:
    """A kind of file: its button, the name it is suggested, the filter of the dialog, and what it is for."""

    button: str
    name: str
    types: str
    tip: str
    names_patient: bool = False


KINDS = {
    "pdf": Kind("Save PDF…", "report.pdf", "PDF (*.pdf)", "The report, one page of A4", True),
    "html": Kind(
        "Save HTML…",
        "report.html",
        "HTML (*.html)",
        "The report as one file for a browser, its pictures inside",
        True,
    ),
    "csv": Kind(
        "Scores (CSV)…",
        "scores.csv",
        "CSV (*.csv)",
        "A table for a spreadsheet: each disease with probability, threshold and key B-scans; never the patient",
    ),
    "json": Kind(
        "Scores (JSON)…",
        "scores.json",
        "JSON (*.json)",
        "Everything the model says, and how it was run, for programs; never the patient",
    ),
    "tiff": Kind(
        "Saliency (OME-TIFF)…",
        "saliency.ome.tif",
        "OME-TIFF (*.ome.tif)",
        "The maps of all diseases, with their place in micrometres; never the patient",
    ),
    "dicom": Kind(
        "Saliency (DICOM)…",
        "saliency.dcm",
        "DICOM (*.dcm)",
        "The map of the selected disease as a DICOM Parametric Map, which refers to the exam's files",
        True,
    ),
}


def make_page(exam: Exam, analysis: Analysis, identity: bool) -> Page:
    """The report as it will be printed; OCTCubeError if there is none."""
    import pypdfium2

    from octcube_core.report import make_report, pdf_bytes

    data = pdf_bytes(make_report(exam, analysis, identity))
    with _PDFIUM:
        document = pypdfium2.PdfDocument(data)
        try:
            bitmap = document[0].render(scale=PIXELS_PER_INCH / POINTS_PER_INCH, rev_byteorder=True)
            return np.ascontiguousarray(bitmap.to_numpy()[..., :3]).copy()
        finally:
            document.close()


def save_file(
    kind: str, path: Path, exam: Exam, analysis: Analysis, target: str | None, identity: bool
) -> None:
    """Write a file of a kind; ``path`` is as before or whole.

    Raises
    ------
    OCTCubeError
        If there can be no such file.
    OSError
        If nothing can be written there.
    """
    # The end of the name tells the writers what the file is.
    partial = path.with_name(f".partial-{os.getpid()}-{path.name[-50:]}")
    try:
        _writer(kind, exam, analysis, target, identity)(partial)
        partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _writer(
    kind: str, exam: Exam, analysis: Analysis, target: str | None, identity: bool
) -> Callable[[Path], None]:
    if kind in ("pdf", "html"):
        from octcube_core.report import html_text, make_report, pdf_bytes

        made = make_report(exam, analysis, identity)
        data = pdf_bytes(made) if kind == "pdf" else html_text(made).encode()
        return lambda path: _write(path, data)
    if kind == "csv":
        from octcube_core.scores_csv import scores_csv

        text = scores_csv(analysis)
        return lambda path: _write(path, text.encode("utf-8-sig"))  # or Excel takes "²" for another
    if kind == "json":
        from octcube_core.export import scores_report

        report = scores_report(exam, analysis)
        del report["files"]  # those that octcube analyze writes beside it
        text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False)
        return lambda path: _write(path, text.encode())
    if kind == "tiff":
        from octcube_core.saliency_file import write_saliency

        return lambda path: write_saliency(path, exam, analysis)
    from octcube_core.writers.dicom_saliency import write_saliency_dicom

    assert target is not None  # Reporting asks before
    return lambda path: write_saliency_dicom(path, exam, analysis, target, identity)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
