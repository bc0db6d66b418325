"""Writes a small model of random weights to the file named on the command line.

A program of its own, so that the process of the viewer's tests never imports torch.
"""

import sys

import torch

from octcube_core.checkpoints import save_checkpoint
from octcube_core.checkpoints.card import Architecture, Label, ModelCard
from octcube_core.models.octcube import OCTCubeClassifier
from octcube_core.phantom import DISEASES

torch.manual_seed(0)
architecture = Architecture(
    embed_dim=32,
    depth=2,
    num_heads=2,
    cube=(3, 16, 16),
    grid=(4, 4, 4),
    mlp_dim=64,
    outputs=2 * len(DISEASES),  # absent and present
    final_residual=True,
)
labels = tuple(Label(f"Disease {name}", name) for name in DISEASES)
# At norm2 this model's random weights light the whole B-scan, and no grey is left beside the overlay.
card = ModelCard("tiny", "0", architecture, labels, synthetic=True, saliency_layer="norm1")
save_checkpoint(sys.argv[1], OCTCubeClassifier(card).eval())
