"""Low-rank adaptation of the encoders' attention (Hu et al., arXiv:2106.09685), by peft."""

from __future__ import annotations

from dataclasses import dataclass

from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from octcube_core.models.family import Model, network
from train.engine.adapters import merged_adapters

_PROJECTIONS = ["qkv", "proj"]


@dataclass
class Lora:
    """Size of the adapters of the attention's projections.

    Attributes
    ----------
    rank : of the two matrices
    alpha : what they add is scaled by alpha / rank
    dropout : of their input
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0

    @property
    def scale(self) -> float:
        """Factor of what the adapters add."""
        return self.alpha / self.rank


def add_adapters(encoder: nn.Module, lora: Lora) -> None:
    """Put adapters into an encoder, whose own weights are frozen by that."""
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=_PROJECTIONS,
    )
    inject_adapter_in_model(config, encoder)


def merged(model: Model, lora: Lora | None) -> Model:
    """The model with its adapters merged into plain weights; itself without any."""
    if lora is None:
        return model
    plain = network(model.card)
    plain.load_state_dict(merged_adapters(model.state_dict(), lora.scale))
    return plain
