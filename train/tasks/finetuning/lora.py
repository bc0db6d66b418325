"""Low-rank adaptation of the encoders' attention (Hu et al., arXiv:2106.09685), by peft."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import nn

from octcube_core.models.family import Model

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


def add_adapters(encoder: nn.Module, lora: Lora) -> None:
    """Put adapters into an encoder, whose own weights are frozen by that."""
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=_PROJECTIONS,
    )
    inject_adapter_in_model(config, encoder)


def merged(model: Model) -> Model:
    """The model with its adapters merged into plain weights; itself if it has none."""
    if not any(isinstance(module, LoraLayer) for module in model.modules()):
        return model
    model = copy.deepcopy(model)
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, LoraLayer):
                child.merge()
                setattr(module, name, child.get_base_layer())
    return model
