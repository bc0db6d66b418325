"""Classifiers of known architecture and random weights: for benchmarks and tests, where only sizes matter."""

from __future__ import annotations

import torch

from octcube_core.checkpoints.card import Architecture, Label, ModelCard
from octcube_core.errors import InputError
from octcube_core.models.octcube import OCTCubeClassifier
from octcube_core.token_grid import Triple, grid_of

CUBE = (3, 16, 16)
DISEASES = 8


def random_model(
    depth: int,
    embed_dim: int,
    num_heads: int,
    input_shape: Triple,
    *,
    final_residual: bool = False,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> OCTCubeClassifier:
    """A classifier of eight diseases with random weights, ready for inference.

    Every parameter is random, those of the norms too, so that no product is trivial. The same sizes give the same
    weights. Raises InputError if the sizes fit no model.
    """
    card = random_card(depth, embed_dim, num_heads, input_shape, final_residual=final_residual)
    device = device or torch.device("cpu")
    with torch.device("meta"):
        model = OCTCubeClassifier(card)
    model = model.to(dtype).to_empty(device=device).eval().requires_grad_(False)
    generator = torch.Generator(device).manual_seed(0)
    for name, parameter in model.named_parameters():
        is_scale = parameter.ndim == 1 and name.endswith("weight")
        spread = 0.02 if parameter.ndim == 1 else parameter[0].numel() ** -0.5
        parameter.normal_(float(is_scale), spread, generator=generator)
    return model


def random_card(
    depth: int,
    embed_dim: int,
    num_heads: int,
    input_shape: Triple,
    *,
    final_residual: bool = False,
) -> ModelCard:
    """Card of ``random_model``; raises InputError if the sizes fit no model."""
    if depth < 1 or num_heads < 1 or embed_dim < 1 or embed_dim % num_heads:
        raise InputError(
            f"No model has depth {depth} and {num_heads} heads for {embed_dim} features."
        )
    grid = grid_of(input_shape, CUBE)
    if grid is None:
        raise InputError(f"The cubes of {CUBE} do not divide an input of {tuple(input_shape)}.")
    architecture = Architecture(
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
        cube=CUBE,
        grid=grid,
        mlp_dim=4 * embed_dim,
        outputs=2 * DISEASES,
        final_residual=final_residual,
    )
    labels = tuple(Label(f"Disease {number}", f"D{number}") for number in range(1, DISEASES + 1))
    return ModelCard("Random weights", "0", architecture, labels, synthetic=True)
