"""``python -m train mae --config FILE``: pre-train a masked autoencoder and write it in our format."""

from __future__ import annotations

from train.data.module import StoreData
from train.engine.stage import run_stage
from train.tasks.mae import MAETask


def main(argv: list[str]) -> None:
    """Train, then export the weights."""
    run_stage(MAETask, StoreData, argv, "mae")
