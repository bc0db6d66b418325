"""An analysis as a file: arrays as .npz, everything else as JSON inside it. No pickle, so that no file can do harm."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octcube_core.checkpoints.card import ModelCard
from octcube_core.checkpoints.card_check import built
from octcube_core.errors import InputError
from octcube_core.results import Analysis, DiseaseScore, EnFaceSaliency, Measurement
from octcube_core.token_grid import PatchGrid, TokenGrid
from octcube_core.whole_file import whole_file

FORMAT = 1
_PLAIN = ("normal_probability", "method", "device", "precision", "layer", "timings_s")


def write_analysis(path: Path, analysis: Analysis) -> None:
    """Write an analysis; the file appears under its name only when it is whole. Nothing in it tells whose it is."""
    facts: dict[str, Any] = {name: getattr(analysis, name) for name in _PLAIN}
    facts |= {
        "format": FORMAT,
        "card": analysis.card.to_json(),
        "scores": [asdict(score) for score in analysis.scores],
        "measurements": [asdict(measurement) for measurement in analysis.measurements],
        "grid": asdict(analysis.grid),
        "run_notes": list(analysis.run_notes),
        "warnings": list(analysis.warnings),
        "embeddings": list(analysis.embeddings),
        "enface": {name: asdict(found.grid) for name, found in analysis.enface.items()},
    }
    arrays: dict[str, NDArray[Any]] = {
        "saliency": analysis.saliency,
        "saliency_peak": analysis.saliency_peak,
        "embedding": analysis.embedding,
    }
    arrays |= {f"embedding {name}": vector for name, vector in analysis.embeddings.items()}
    for name, found in analysis.enface.items():
        arrays |= {f"maps {name}": found.maps, f"peaks {name}": found.peaks}
    text = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, facts=text, allow_pickle=False, **arrays)


def read_analysis(path: Path) -> Analysis:
    """Read what ``write_analysis`` wrote.

    Raises
    ------
    InputError
        If it is damaged, or of another version.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            facts = json.loads(file["facts"].tobytes())
            if facts["format"] != FORMAT:
                raise ValueError("another format")
            return Analysis(
                scores=tuple(built(DiseaseScore, score, "a score") for score in facts["scores"]),
                measurements=tuple(
                    built(Measurement, each, "a measurement") for each in facts["measurements"]
                ),
                saliency=file["saliency"],
                saliency_peak=file["saliency_peak"],
                embedding=file["embedding"],
                grid=built(TokenGrid, facts["grid"], "the grid"),
                card=ModelCard.from_json(facts["card"]),
                embeddings={name: file[f"embedding {name}"] for name in facts["embeddings"]},
                enface={
                    name: EnFaceSaliency(
                        file[f"maps {name}"],
                        file[f"peaks {name}"],
                        built(PatchGrid, grid, "the grid"),
                    )
                    for name, grid in facts["enface"].items()
                },
                run_notes=tuple(facts["run_notes"]),
                warnings=tuple(facts["warnings"]),
                **{name: facts[name] for name in _PLAIN},
            )
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path.name} is no analysis, or a damaged one; analyse again.") from error
