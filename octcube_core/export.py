"""An analysis as files: report, scores, saliency maps, embeddings and pictures. Never the patient's identity.

Neither the patient nor the path of the exam (people name files after patients) gets into any of them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from octcube_core.errors import InputError
from octcube_core.exam import Exam
from octcube_core.montage import draw_montage
from octcube_core.report import html_text, make_report, pdf_bytes
from octcube_core.results import DISCLAIMER, Analysis
from octcube_core.saliency_file import write_enface_saliency, write_saliency
from octcube_core.view_sheet import draw_view_sheet

SCORES, SALIENCY, MONTAGE = "scores.json", "saliency.ome.tif", "montage.png"
REPORT_HTML, REPORT_PDF = "report.html", "report.pdf"
KEY_BSCANS = 3


@contextmanager
def result_folder(out: Path) -> Iterator[Path]:
    """Give a temporary folder whose files move to ``out`` when the block ends well.

    After an error or an interrupt ``out`` is as it was before and the temporary folder is gone; parents of ``out``
    that had to be made stay.

    Parameters
    ----------
    out : Path
        A folder, existing or not. Files of the same names in it are replaced, others stay.

    Raises
    ------
    InputError
        ``out`` is a file or lies where nothing can be written.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; please give a folder for the results.")
    out = out.resolve()
    hidden = f".{out.name}.partial-{os.getpid()}"
    # On the same file system as the results, so that moving them is a rename.
    partial = (out if out.is_dir() else out.parent) / hidden
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"Cannot write results to {out} ({error.strerror}).") from error
    try:
        yield partial
        if out.is_dir():
            for file in sorted(partial.iterdir()):
                file.replace(out / file.name)
        else:
            partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@dataclass(frozen=True)
class ResultFiles:
    """Names of an analysis's files in its folder, beside `SCORES`.

    Attributes
    ----------
    report_html, report_pdf, saliency, montage : str or None
        None for a model that has nothing to explain.
    views : dict of str to str
        By target, of the leading ones.
    enface_saliency, embeddings : dict of str to str
        By modality.
    """

    report_html: str | None
    report_pdf: str | None
    saliency: str | None
    montage: str | None
    views: dict[str, str]
    enface_saliency: dict[str, str]
    embeddings: dict[str, str]

    @classmethod
    def of(cls, analysis: Analysis) -> ResultFiles:
        """What an analysis is written as."""
        explained = bool(analysis.targets)
        images = analysis.enface if explained else ()
        return cls(
            report_html=REPORT_HTML if explained else None,
            report_pdf=REPORT_PDF if explained else None,
            saliency=SALIENCY if explained else None,
            montage=MONTAGE if explained else None,
            views=target_files("views_{}.png", analysis.leading_targets()),
            enface_saliency=target_files("saliency_{}.ome.tif", images),
            embeddings=target_files("embedding_{}.npy", analysis.embeddings),
        )


def target_files(pattern: str, names: Iterable[str]) -> dict[str, str]:
    """A file name each that every file system takes, whatever a model calls its targets."""
    files: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:40] or "target"
        file, number = pattern.format(plain), 2
        while file.lower() in (other.lower() for other in files.values()):
            file, number = pattern.format(f"{plain}-{number}"), number + 1
        files[name] = file
    return files


def write_results(folder: Path, exam: Exam, analysis: Analysis) -> None:
    """Write the files of an analysis into an existing folder."""
    text = json.dumps(scores_report(exam, analysis), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / SCORES).write_text(text + "\n", encoding="utf-8")
    files = ResultFiles.of(analysis)
    if files.report_html is not None and files.report_pdf is not None:
        report = make_report(exam, analysis)
        (folder / files.report_html).write_text(html_text(report), encoding="utf-8")
        (folder / files.report_pdf).write_bytes(pdf_bytes(report))
    if files.saliency is not None:
        write_saliency(folder / files.saliency, exam, analysis)
    if files.montage is not None:
        draw_montage(exam, analysis).save(folder / files.montage)
    for target, name in files.views.items():
        draw_view_sheet(exam, analysis, target).save(folder / name)
    for modality, name in files.enface_saliency.items():
        write_enface_saliency(folder / name, exam, analysis, modality)
    for modality, name in files.embeddings.items():
        np.save(folder / name, analysis.embeddings[modality])


def exam_facts(exam: Exam) -> dict[str, Any]:
    """What an exam is, ready for JSON: shapes, spacings in mm (null if unknown), eye, device; no identity."""
    return {
        "format": exam.format,
        "modalities": list(exam.modalities),
        "laterality": exam.laterality,
        "device": exam.device,
        "scan_pattern": exam.scan_pattern,
        "axes": ["bscan", "depth", "width"],
        "shape": list(exam.volume.shape),
        "spacing_mm": list(exam.volume.spacing_mm),
        "enface": [
            {
                "modality": image.modality,
                "shape": list(image.shape),
                "spacing_mm": list(image.spacing_mm),
            }
            for image in exam.enface
        ],
        "bscan_locations_known": exam.locations is not None,
        "warnings": list(exam.warnings),
    }


def scores_report(exam: Exam, analysis: Analysis) -> dict[str, Any]:
    """The content of scores.json.

    ``key_bscans`` are counted from 0, most salient first; empty where the model found no positive evidence.
    ``diseases`` and ``measurements`` are empty for a model without them, and the normal probability is then null.
    """
    card = analysis.card
    return {
        "disclaimer": DISCLAIMER,
        "model": {
            "name": card.name,
            "version": card.version,
            "synthetic": card.synthetic,
            "trained_on": card.trained_on,
            "intended_use": card.intended_use,
        },
        "diseases": [
            {
                "name": score.name,
                "abbreviation": score.abbreviation,
                "icd10": list(score.icd10),
                "probability": float(score.probability),
                "threshold": float(score.threshold),
                "present": bool(score.present),
                "key_bscans": analysis.key_bscans(score.abbreviation, KEY_BSCANS),
            }
            for score in analysis.scores
        ],
        "normal_probability": analysis.normal_probability,
        "measurements": [
            {
                "name": measurement.name,
                "abbreviation": measurement.abbreviation,
                "value": float(measurement.value),
                "unit": measurement.unit,
                "key_bscans": analysis.key_bscans(measurement.abbreviation, KEY_BSCANS),
            }
            for measurement in analysis.measurements
        ],
        "embeddings": {
            modality: {"features": len(embedding)}
            for modality, embedding in analysis.embeddings.items()
        },
        "exam": exam_facts(exam),
        "run": {
            "device": analysis.device,
            "precision": analysis.precision,
            "saliency": analysis.method,
            "layer": analysis.layer,
            "timings_s": {stage: float(seconds) for stage, seconds in analysis.timings_s.items()},
            "notes": list(analysis.run_notes),
            "warnings": [text for text in analysis.warnings if text not in exam.warnings],
        },
        "files": asdict(ResultFiles.of(analysis)),
    }
