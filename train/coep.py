"""``python -m train coep --config FILE``: align OCT volumes and en-face images and write the model in our format."""

from __future__ import annotations

from train.data.module import StoreData
from train.engine.stage import run_stage
from train.tasks.coep import COEPTask


def main(argv: list[str]) -> None:
    """Train, then export the weights."""
    run_stage(COEPTask, StoreData, argv, "coep")
