"""OCTCube-IR and OCTCube-EF: an OCT tower and an en-face tower that share one space, and a regression on top."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import torch
from torch import nn

from octcube_core.checkpoints.card import Alignment, Architecture, ModelCard
from octcube_core.errors import InputError
from octcube_core.models.blocks import LayerNorm, in_float32
from octcube_core.models.cosine_pooling import CosinePooling
from octcube_core.models.heads import RegressionHead, target_values, unit_length
from octcube_core.models.octcube import OCTCubeEncoder, Pool
from octcube_core.token_grid import Triple

FIRST_TEMPERATURE = 0.07  # of CLIP (Radford et al., arXiv:2103.00020) and of the paper


class PooledTower(nn.Module):
    """An encoder and how its tokens are pooled: by their mean, or by cosines.

    Attributes
    ----------
    encoder : OCTCubeEncoder
    pooling : CosinePooling or None
    """

    def __init__(self, architecture: Architecture, alignment: Alignment, kinds: int = 1) -> None:
        super().__init__()
        self.encoder = OCTCubeEncoder(architecture)
        self.pooling = (
            None
            if alignment.pooling is None
            else CosinePooling(
                architecture.embed_dim, alignment.pooling, architecture.planar, kinds
            )
        )

    def pooled(
        self, value: torch.Tensor, keep: torch.Tensor | None = None, kind: int = 0
    ) -> torch.Tensor:
        """Pooled tokens, shape (batch, dim), of volumes, or of images of a modality's number.

        ``keep`` as for the encoder.
        """
        pooling = self.pooling_on(self.encoder.grid(value), keep=keep, kind=kind)
        return self.encoder.pooled(value, keep, pooling=pooling)

    def pooling_on(self, grid: Triple, **which: Any) -> Pool | None:
        """Pooling of tokens of a grid, ``which`` of them as ``CosinePooling`` says; None for the mean."""
        if self.pooling is None:
            return None
        return functools.partial(self.pooling, grid=grid, **which)


class OCTTower(PooledTower):
    """3D encoder and the projection of its pooled tokens."""

    def __init__(self, architecture: Architecture, alignment: Alignment) -> None:
        super().__init__(architecture, alignment)
        dim = architecture.embed_dim
        self.aggregate = nn.Linear(dim, dim)
        self.aggregate_norm = LayerNorm(dim)
        self.act = nn.GELU()
        self.head = nn.Linear(dim, alignment.projection)

    def project(self, pooled: torch.Tensor) -> torch.Tensor:
        """Embedding of length 1, shape (batch, projection), from the pooled tokens."""
        x = in_float32(self.aggregate, self.encoder.features(pooled))
        x = self.act(in_float32(self.aggregate_norm, x))
        return unit_length(in_float32(self.head, x))


class EnFaceTower(PooledTower):
    """Image encoder and the projection of its pooled tokens; with several modalities, a last layer for each."""

    def __init__(self, alignment: Alignment) -> None:
        super().__init__(alignment.enface, alignment, len(alignment.modalities))
        dim, several = alignment.enface.embed_dim, len(alignment.modalities) > 1
        self.head = nn.Linear(dim, dim if several else alignment.projection)
        self.act = nn.GELU()
        self.modality_heads = nn.ModuleList(
            nn.Linear(dim, alignment.projection) for _ in alignment.modalities if several
        )

    def project(self, pooled: torch.Tensor, modality: int) -> torch.Tensor:
        """Embedding of length 1, shape (batch, projection), of images of the modality of that number."""
        x = in_float32(self.head, self.encoder.features(pooled))
        if len(self.modality_heads):
            x = in_float32(self.modality_heads[modality], self.act(x))
        return unit_length(x)


class COEPModel(nn.Module):
    """Contrastively aligned OCT volumes and en-face images.

    Attributes
    ----------
    card : ModelCard
    modalities : tuple of str
        What the en-face tower embeds, e.g. ('IR',) or ('FAF', 'IR').
    pairs : tuple of pairs of str
        OCT with every en-face modality, then the en-face modalities among each other.
    log_scales : list of scalar parameters
        Logarithms of the factors of the similarities, one for each of ``pairs``.
    """

    def __init__(self, card: ModelCard) -> None:
        super().__init__()
        alignment = card.alignment
        assert alignment is not None
        self.card = card
        self.modalities = alignment.modalities
        self.oct_tower = OCTTower(card.architecture, alignment)
        self.enface_tower = EnFaceTower(alignment)
        self.pairs = tuple(itertools.combinations(("OCT", *self.modalities), 2))
        self.log_scales = nn.ParameterList(
            torch.tensor(math.log(1 / FIRST_TEMPERATURE)) for _ in self.pairs
        )
        self.regression = (
            RegressionHead(
                alignment.projection,
                1 + len(self.modalities),
                alignment.regression_hidden,
                card.outputs,
            )
            if alignment.regression_hidden
            else None
        )

    @property
    def logit_scales(self) -> torch.Tensor:
        """Factors of the similarities, shape (pairs,)."""
        return torch.stack([scale.exp() for scale in self.log_scales])

    def embed_volume(self, volume: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        """Embeddings of length 1, shape (batch, projection), of (batch, 1, frames, height, width) in [0, 1].

        ``keep``, shape (batch, kept), has the tower see those tokens alone.
        """
        return self.oct_tower.project(self.oct_tower.pooled(volume, keep))

    def embed_enface(self, image: torch.Tensor, modality: str) -> torch.Tensor:
        """Embeddings of length 1, shape (batch, projection), of normalised images (batch, 3, height, width)."""
        number = self.modality_number(modality)
        return self.enface_tower.project(self.enface_tower.pooled(image, kind=number), number)

    def modality_number(self, modality: str) -> int:
        """Place of an en-face modality; InputError if the model knows no such one."""
        if modality not in self.modalities:
            raise InputError(
                f"{self.card.name} embeds {' and '.join(self.modalities)} images, not {modality}."
            )
        return self.modalities.index(modality)

    def predict(self, volume: torch.Tensor | None, *enface: torch.Tensor | None) -> torch.Tensor:
        """Regression values in their units, shape (batch, targets), from the embeddings of volumes and of images.

        None stands for a missing modality, also for all images that are left out.

        Raises
        ------
        InputError
            If the model has no regression head, or no embedding is given.
        """
        return target_values(self.head_outputs(volume, *enface), self.card)

    def head_outputs(
        self, volume: torch.Tensor | None, *enface: torch.Tensor | None
    ) -> torch.Tensor:
        """What the head says, shape (batch, outputs) as ``ModelCard.outputs`` counts; else as ``predict``."""
        if self.regression is None:
            raise InputError(f"{self.card.name} has no regression head, so it predicts no values.")
        given = [volume, *enface, *[None] * (len(self.modalities) - len(enface))]
        if all(embedding is None for embedding in given):
            raise InputError("A prediction needs the embedding of at least one modality.")
        outputs: torch.Tensor = self.regression(given)
        return outputs
