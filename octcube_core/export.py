"""An analysis as files: scores.json, saliency.ome.tif and montage.png. Never the patient's identity.

Neither the patient nor the path of the exam (people name files after patients) gets into any of them.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import tifffile

from octcube_core import __version__
from octcube_core.errors import InputError
from octcube_core.exam import Exam
from octcube_core.montage import draw_montage
from octcube_core.results import DISCLAIMER, Analysis

SCORES, SALIENCY, MONTAGE = "scores.json", "saliency.ome.tif", "montage.png"
KEY_BSCANS = 3
UM_PER_MM = 1000.0


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


def write_results(folder: Path, exam: Exam, analysis: Analysis) -> None:
    """Write the three files of an analysis into an existing folder."""
    text = json.dumps(scores_report(exam, analysis), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / SCORES).write_text(text + "\n", encoding="utf-8")
    write_saliency(folder / SALIENCY, exam, analysis)
    draw_montage(exam, analysis).save(folder / MONTAGE)


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
        "exam": exam_facts(exam),
        "run": {
            "device": analysis.device,
            "precision": analysis.precision,
            "saliency": analysis.method,
            "timings_s": {stage: float(seconds) for stage, seconds in analysis.timings_s.items()},
            "warnings": [text for text in analysis.warnings if text not in exam.warnings],
        },
        "files": {"saliency": SALIENCY, "montage": MONTAGE},
    }


def write_saliency(path: Path, exam: Exam, analysis: Analysis) -> None:
    """Write the saliency maps as OME-TIFF at token resolution, axes CZYX, one channel per disease.

    PhysicalSizeX/Y/Z is the size of a token and PositionX/Y/Z of each plane the centre of its first token, both in
    micrometres, from the centre of voxel (0, 0, 0) of the exam. An axis of unknown spacing has neither. The same
    step and offset in voxels are in the MapAnnotation, whatever the spacing.
    """
    saliency = np.asarray(analysis.saliency, np.float32)
    diseases, layers = saliency.shape[:2]
    grid = analysis.grid
    metadata: dict[str, Any] = {
        "axes": "CZYX",
        "Creator": f"napari-octcube {__version__}",
        "UUID": str(uuid4()),  # tifffile's own would hold this computer's network address
        "Name": "Saliency",
        "Description": f"{analysis.method} saliency by {analysis.card.title}. {DISCLAIMER}.",
        "Channel": {"Name": [score.abbreviation for score in analysis.scores]},
        "MapAnnotation": {
            "Namespace": "napari-octcube/saliency",
            "Model": analysis.card.title,
            "Disclaimer": DISCLAIMER,
            "Diseases": "; ".join(score.name for score in analysis.scores),
            "TokenStepVoxelsZYX": _numbers(grid.step_voxels),
            "FirstTokenVoxelZYX": _numbers(grid.origin_voxels),
            "VolumeShapeZYX": _numbers(grid.volume_shape),
            "PeakBeforeScaling": _numbers(analysis.saliency_peak),
        },
        "Plane": {},
    }
    for axis, spacing in enumerate(exam.volume.spacing_mm):
        if spacing is None:
            continue
        name = "ZYX"[axis]
        step = float(grid.step_voxels[axis]) * spacing * UM_PER_MM
        origin = float(grid.origin_voxels[axis]) * spacing * UM_PER_MM
        metadata[f"PhysicalSize{name}"] = step
        metadata[f"PhysicalSize{name}Unit"] = "µm"
        along = [origin + step * layer * (name == "Z") for layer in range(layers)]
        metadata["Plane"][f"Position{name}"] = along * diseases
        metadata["Plane"][f"Position{name}Unit"] = ["µm"] * layers * diseases
    tifffile.imwrite(
        path, saliency, ome=True, photometric="minisblack", compression="zlib", metadata=metadata
    )


def _numbers(values: Any) -> str:
    return " ".join(f"{value:.9g}" for value in values)
