"""Warnings of libraries about what is meant so here, or is none of the user's business; all others stay."""

from __future__ import annotations

import logging
import os
import warnings

_WARNINGS = (
    # Arguments are given and yet stand in sys.argv, where Lightning's DDP processes need them.
    "LightningCLI's args parameter is intended",
    "Checkpoint directory .* exists and is not empty",
    "The number of training batches .* is smaller than the logging interval",
    "Precision .* is not supported by the model summary",
    # Validation figures are made of what was gathered from all processes.
    "It is recommended to use `self.log\\('val/.*sync_dist=True",
    ".*isinstance\\(treespec, LeafSpec\\).* is deprecated",
)
_MESSAGES = ("litlogger", "`weights_only` was not set", "Loading `train_dataloader` to estimate")


def silence_what_is_meant_so() -> None:
    """Take them out of this process's output."""
    for text in _WARNINGS:
        warnings.filterwarnings("ignore", text)
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # Lightning's use of it
    for name in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).addFilter(_is_news)
        for handler in logging.getLogger(name).handlers:
            handler.addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return not any(text in record.getMessage() for text in _MESSAGES)
