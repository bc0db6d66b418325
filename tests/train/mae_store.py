"""Tiny stores and cards for tests of masked autoencoding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from octcube_core.checkpoints.card import Architecture, Decoder, ModelCard
from train.data.store import StoreLayout, new_store, write_manifest, write_shard

SHAPE = (6, 32, 32)
VALIDATION = 4


def card(planar: bool = False, **decoder: object) -> ModelCard:
    architecture = Architecture(
        embed_dim=32,
        depth=2,
        num_heads=2,
        cube=(3, 16, 16),
        grid=(1, 2, 2) if planar else (2, 2, 2),
        mlp_dim=64,
        final_residual=True,
        planar=planar,
    )
    sizes = Decoder(embed_dim=16, depth=1, num_heads=2, mlp_dim=32, final_residual=True, **decoder)
    return ModelCard("Test MAE", "0", architecture, decoder=sizes)


def batch(count: int, images: bool = False, seed: int = 0) -> dict[str, object]:
    """A batch as the store's loader gives it; of the images every third exam lacks FAF."""
    draw = torch.Generator().manual_seed(seed)

    def pixels(*shape: int) -> torch.Tensor:
        return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=draw)

    present = torch.ones(count, 1 + images, dtype=torch.bool)
    found: dict[str, object] = {"row": torch.arange(count), "present": present}
    if not images:
        return found | {"volume": pixels(*SHAPE)}
    present[::3, 0] = False
    return found | {"images": {"FAF": pixels(32, 32), "IR": pixels(40, 48)}}


def make_store(folder: Path, count: int = 12, images: bool = False) -> Path:
    """Smooth waves with a phase of their own; the last few for validation."""
    phase = np.random.default_rng(0).uniform(0, 6, (count, 1, 1, 1))
    wave = np.arange(SHAPE[1])[:, None] / 5 + np.arange(SHAPE[2]) / 9
    depth = np.arange(SHAPE[0])[:, None, None] / 4
    volumes = (127 + 120 * np.sin(wave + depth + phase)).astype(np.uint8)
    layout = {"FAF": (32, 32), "IR": (32, 32)} if images else {}
    names = ["OCT", *layout]
    with new_store(folder, StoreLayout(count, SHAPE, layout)) as unfinished:
        pictures = {name: volumes[:, number] for number, name in enumerate(layout)}
        write_shard(unfinished, 0, volumes, pictures, None)
        rows = {
            "eye": [f"p{n}-OD" for n in range(count)],
            "patient": [f"p{n}" for n in range(count)],
            "visit": 1,
            "laterality": "OD",
            "device": "",
            "modalities": [names[: len(names) - (n % 3 == 0 and images)] for n in range(count)],
            **{f"spacing_{axis}_mm": np.nan for axis in "zyx"},
            "split": ["train"] * (count - VALIDATION) + ["validation"] * VALIDATION,
        }
        write_manifest(unfinished, pd.DataFrame(rows))
    return folder
