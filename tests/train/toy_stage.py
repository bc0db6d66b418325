"""A stage of the engine that trains in seconds: ``python -m tests.train.toy_stage OPTIONS``, as ``python -m train``."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from threading import Timer
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import torch

from octcube_core.checkpoints.card import Architecture, Label, ModelCard
from octcube_core.errors import OCTCubeError
from octcube_core.models.octcube import OCTCubeClassifier
from train.data.module import StoreData
from train.data.store import StoreLayout, new_store, write_manifest, write_shard
from train.data.to_device import volumes_to_input
from train.engine.optimiser import Optimisation, configure
from train.engine.stage import run_stage

SHAPE = (6, 32, 32)


class ToyTask(L.LightningModule):
    """Brightness of a volume through dropout and noise, so that every kind of randomness is in its weights.

    Parameters
    ----------
    fail_at, fail_rank : optimiser step at which a process raises
    spoil_at : optimiser step at which the loss is no number

    The environment variable ``TOY_SIGNAL``, "number:step:seconds", sends a process that signal so long after it has
    begun a step; with ":rank" at its end only the process of that rank. ``TOY_KILL_SAVING`` kills one while it writes
    the checkpoint of that name.
    """

    monitor = "val/loss"

    def __init__(
        self,
        optimisation: Optimisation,
        fail_at: int | None = None,
        fail_rank: int = 0,
        spoil_at: int | None = None,
    ) -> None:
        super().__init__()
        self.model = OCTCubeClassifier(card())
        self.model.encoder.norm.requires_grad_(False)  # which the classifier does not apply
        self.optimisation = optimisation
        self.fail_at, self.fail_rank, self.spoil_at = fail_at, fail_rank, spoil_at

    def check(self, data: Any) -> None:
        self.model.card = replace(card(), trained_on=f"{len(data.training)} toys")

    def exported(self) -> OCTCubeClassifier:
        return self.model

    def training_step(self, batch: dict[str, Any], _: int) -> torch.Tensor:
        if self.global_step == self.fail_at and self.global_rank == self.fail_rank:
            raise RuntimeError("the toy broke, as told")
        self._signal_itself()
        volume = volumes_to_input(batch["volume"], SHAPE)
        loss = self._loss(volume + 0.1 * torch.randn_like(volume))
        self.log("train/loss", loss.detach())
        return loss * torch.nan if self.global_step == self.spoil_at else loss

    def _signal_itself(self) -> None:
        number, step, seconds, *rank = os.environ.get("TOY_SIGNAL", "9:never:0").split(":")
        if step == str(self.global_step) and rank in ([], [str(self.global_rank)]):
            Timer(float(seconds), os.kill, (os.getpid(), int(number))).start()

    def validation_step(self, batch: dict[str, Any], _: int) -> None:
        loss = self._loss(volumes_to_input(batch["volume"], SHAPE))
        self.log("val/loss", loss, sync_dist=True)
        self.log("val/undefined", torch.nan)

    def _loss(self, volume: torch.Tensor) -> torch.Tensor:
        target = volume.mean(dim=(1, 2, 3, 4))
        return (self.model(volume)[:, 0] - target).square().mean()

    def configure_optimizers(self) -> Any:
        return configure(self, self.optimisation)


def card() -> ModelCard:
    architecture = Architecture(
        embed_dim=16, depth=2, num_heads=1, cube=(3, 16, 16), grid=(2, 2, 2), mlp_dim=32, outputs=2,
        final_residual=True, head_dropout=0.2,
    )  # fmt: skip
    return ModelCard("Toy", "0", architecture, (Label("Bright", "B"),), synthetic=True)


def make_toy_store(folder: Path, count: int = 26) -> None:
    """Random volumes, the last six for validation."""
    draw = np.random.default_rng(0)
    scale = draw.uniform(0.2, 1, (count, 1, 1, 1))
    volumes = (draw.integers(0, 256, (count, *SHAPE)) * scale).astype(np.uint8)
    with new_store(folder, StoreLayout(count, SHAPE)) as unfinished:
        write_shard(unfinished, 0, volumes, {}, None)
        write_manifest(unfinished, manifest(count))


def manifest(count: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "eye": [f"p{n}-OD" for n in range(count)],
            "patient": [f"p{n}" for n in range(count)],
            "visit": 1,
            "laterality": "OD",
            "device": "",
            "modalities": [["OCT"]] * count,
            "spacing_z_mm": np.nan,
            "spacing_y_mm": np.nan,
            "spacing_x_mm": np.nan,
            "split": ["train"] * (count - 6) + ["validation"] * 6,
        }
    )


def _die_saving(descriptor: int) -> None:
    name = Path(f"/proc/self/fd/{descriptor}").resolve().name
    if name.startswith("." + os.environ["TOY_KILL_SAVING"]):
        os.truncate(descriptor, 1000)
        os.kill(os.getpid(), signal.SIGKILL)


def main(argv: list[str]) -> int:
    if "TOY_KILL_SAVING" in os.environ:
        os.fsync = _die_saving
    try:
        run_stage(ToyTask, StoreData, argv, "toy")
    except OCTCubeError as error:
        sys.stderr.write(f"train: error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
