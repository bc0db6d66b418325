"""``python -m train finetune --config FILE``: train a model for labels or targets and write it in the viewer's format.

With ``--folds K`` it is trained K times, each fold of the patients validating once.
"""

from __future__ import annotations

from train.data.module import StoreData
from train.engine.stage import run_stage
from train.tasks.finetune import FinetuneTask
from train.tasks.finetuning.folds import run_folds, without_folds


def main(argv: list[str]) -> None:
    """Train, then export the weights of the best validated epoch (or the last, if none was validated)."""
    folds, rest = without_folds(argv)
    if folds is not None:
        run_folds(rest, folds)
    else:
        run_stage(FinetuneTask, StoreData, rest, "finetune")
