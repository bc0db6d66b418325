"""A small store of noise that has what a recipe asks for: its modalities, shapes and labels."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jsonargparse import Namespace

from train.data.store import OCT, StoreLayout, new_store, write_manifest, write_shard

_SPLIT = ["train"] * 8 + ["validation"] * 4 + ["test"] * 4
_SMALLEST = (3, 16, 16)


def make_store(config: Namespace) -> Path:
    """Make the store in a temporary folder that goes when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="dry-run-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    card, data = config.model.get("card"), config.data
    modalities = [name for name in data.get("modalities") or [] if name != OCT]
    layout = StoreLayout(
        len(_SPLIT),
        _volume_shape(card),
        {name: _image_shape(card) for name in modalities},
        lesions=bool(data.get("lesions")),
    )
    draw = np.random.default_rng(0)
    with new_store(folder / "store", layout) as unfinished:
        write_shard(
            unfinished,
            0,
            _noise(draw, layout.volume_shape),
            {name: _noise(draw, shape) for name, shape in layout.images.items()},
            _noise(draw, layout.volume_shape) if layout.lesions else None,
        )
        write_manifest(unfinished, _manifest(modalities, data.get("labels"), card, draw))
    return folder / "store"


def _noise(draw: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return draw.integers(0, 256, (len(_SPLIT), *shape), np.uint8)


def _volume_shape(card: Namespace | None) -> tuple[int, int, int]:
    if card is None or card.architecture.planar:
        return _SMALLEST
    return _input_shape(card.architecture)


def _image_shape(card: Namespace | None) -> tuple[int, int]:
    if card is None:
        return _SMALLEST[1:]
    planar = card.architecture if card.architecture.planar else card.alignment.enface
    return _input_shape(planar)[1:]


def _input_shape(architecture: Namespace) -> tuple[int, int, int]:
    z, y, x = (g * c for g, c in zip(architecture.grid, architecture.cube, strict=True))
    return z, y, x


def _manifest(
    modalities: list[str], labels: Namespace | None, card: Namespace, draw: np.random.Generator
) -> pd.DataFrame:
    count = len(_SPLIT)
    rows = pd.DataFrame(
        {
            "eye": [f"p{n}-{side}" for n in range(count // 2) for side in ("OD", "OS")],
            "patient": [f"p{n}" for n in range(count // 2) for _ in range(2)],
            "visit": 1,
            "laterality": ["OD", "OS"] * (count // 2),
            "device": "made up",
            "modalities": [[OCT, *modalities]] * count,
            **{f"spacing_{axis}_mm": np.nan for axis in "zyx"},
            "split": _SPLIT,
        }
    )
    if labels is not None and not labels.columns:  # what a table would have
        labels.columns = [label.abbreviation for label in card.labels] or ["A", "B"]
    for name in [] if labels is None else [*labels.columns, *labels.auxiliary]:
        rows[name] = _values(labels, card, count, draw)
    return rows


def _values(labels: Namespace, card: Namespace, count: int, draw: np.random.Generator) -> Any:
    if labels.kind == "regression":
        return draw.normal(1, 0.3, count)
    if labels.kind == "binary":
        return np.arange(count) % 2
    classes = labels.classes or [label.abbreviation for label in card.labels] or [0, 1]
    return [classes[number % len(classes)] for number in range(count)]
