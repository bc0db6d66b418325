"""A tri-modal COEP task small enough for a test."""

from __future__ import annotations

import torch

from octcube_core.checkpoints.card import Alignment, Architecture, ModelCard
from train.engine.optimiser import Optimisation
from train.tasks.coep import COEPTask

VOLUME = Architecture(16, 3, 1, (3, 8, 8), (2, 2, 2), 32, True)
IMAGE = Architecture(8, 2, 1, (3, 8, 8), (1, 2, 2), 16, True, planar=True)
CARD = ModelCard("Tiny", "1", VOLUME, alignment=Alignment(IMAGE, ("FAF", "IR"), 6))


def make_task(card=CARD, **options):
    torch.manual_seed(1)
    task = COEPTask(card, Optimisation(lr=1e-3, layer_decay=0.5), **options)
    task.log = lambda *_, **__: None  # there is no trainer to log to
    return task.train()
