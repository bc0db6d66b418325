"""Low-rank adapters merged into the weights that they adapt, by name and without peft."""

from __future__ import annotations

import re

import torch

Weights = dict[str, torch.Tensor]
_ADAPTER = re.compile(r"(.*)\.lora_(A|B)\.[^.]+\.weight")


def merged_adapters(weights: Weights, scale: float) -> Weights:
    """Weights with low-rank adapters added in (Hu et al., arXiv:2106.09685): W + scale * B A.

    Names are those of peft: ``layer.base_layer.weight``, ``layer.lora_A.NAME.weight``, ``layer.lora_B.NAME.weight``.
    """
    adapters: dict[str, Weights] = {}
    plain: Weights = {}
    for name, tensor in weights.items():
        if match := _ADAPTER.fullmatch(name):
            adapters.setdefault(match[1], {})[match[2]] = tensor.float()
        else:
            plain[name.replace(".base_layer.", ".")] = tensor
    for layer, pair in adapters.items():
        name = f"{layer}.weight"
        update = scale * (pair["B"] @ pair["A"])
        plain[name] = (plain[name].float() + update).to(plain[name].dtype)
    return plain
