"""AdamW with warm-up, a cosine fall and layer-wise decay of the learning rate, the same for every task.

The schedule and the scaling of the rate with the batch are those of MAE (He et al., arXiv:2111.06377, after Goyal et
al., arXiv:1706.02677); the decay over layers is that of ELECTRA (Clark et al., arXiv:2003.10555) as BEiT
(Bao et al., arXiv:2106.08254) uses it for vision transformers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import lightning as L
import torch
from torch import nn

from octcube_core.errors import InputError
from train.engine.distributed import effective_batch

DepthOf = Callable[[str], int | None]
_ENCODER = re.compile(r"(.*\bencoder\.)(.*)")
_BLOCK = re.compile(r"blocks\.(\d+)\.")


@dataclass
class Optimisation:
    """How a task is optimised.

    Attributes
    ----------
    lr : peak learning rate; or give ``base_lr``
    base_lr : peak learning rate for an effective batch of 256: lr = base_lr x effective batch / 256
    weight_decay : on matrices only, not on gains, biases, tokens and positions
    betas : of AdamW
    warmup_epochs, warmup_steps, warmup_share : how long the rate rises from 0, in epochs (also fractions), optimiser
        steps or as a share of all steps; at most one of them
    min_lr : where the cosine ends
    layer_decay : factor of the rate from one block to the next below; heads have the full rate, the last block
        ``layer_decay`` times it, the embedding ``layer_decay`` to the power of depth + 1
    schedule : "cosine", or "constant" after the warm-up
    """

    lr: float | None = None
    base_lr: float | None = None
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)
    warmup_epochs: float | None = None
    warmup_steps: int | None = None
    warmup_share: float | None = None
    min_lr: float = 0.0
    layer_decay: float = 1.0
    schedule: Literal["cosine", "constant"] = "cosine"

    def __post_init__(self) -> None:
        if (self.lr is None) == (self.base_lr is None):
            raise InputError("The optimisation needs either lr or base_lr, and not both.")
        warmups = (self.warmup_epochs, self.warmup_steps, self.warmup_share)
        if sum(value is not None for value in warmups) > 1:
            raise InputError(
                "Give one of warmup_epochs, warmup_steps and warmup_share, not several."
            )
        if (self.lr or self.base_lr or 0) <= 0:
            raise InputError("The learning rate must be above 0.")
        if not 0 < self.layer_decay <= 1:
            raise InputError(f"layer_decay must be above 0 and at most 1, not {self.layer_decay}.")

    def peak(self, batch: int) -> float:
        """Peak learning rate for an effective batch."""
        if self.lr is not None:
            return self.lr
        assert self.base_lr is not None
        return self.base_lr * batch / 256

    def warmup(self, total: int, per_epoch: int) -> int:
        """Number of warm-up steps of a run of so many steps."""
        if self.warmup_steps is not None:
            return self.warmup_steps
        if self.warmup_epochs is not None:
            return round(self.warmup_epochs * per_epoch)
        return round((self.warmup_share or 0.0) * total)

    def factor(self, step: int, total: int, warmup: int, floor: float) -> float:
        """Share of the peak rate at a step (from 0) of a run; ``floor`` is min_lr as such a share."""
        if step < warmup:
            return (step + 1) / warmup
        if self.schedule == "constant":
            return 1.0
        done = min(1.0, (step - warmup) / max(1, total - warmup))
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))


def configure(
    module: L.LightningModule, optimisation: Optimisation, depth_of: DepthOf | None = None
) -> Any:
    """What ``configure_optimizers`` returns: AdamW and its schedule per optimiser step.

    Parameters
    ----------
    module : attached to a trainer, its data module having ``batch_size``
    optimisation : Optimisation
    depth_of : parameter name -> number of its layer, 0 for the embedding and n for the n-th block; None above all
        blocks. By default read from our encoders' names.
    """
    peak = optimisation.peak(effective_batch(module))
    groups = parameter_groups(module.named_parameters(), optimisation, peak, depth_of)
    # The fused one alone needs no memory of its own during a step; it does not clip what fp16 has scaled.
    scaled = getattr(module.trainer.precision_plugin, "scaler", None) is not None
    fused = (module.device.type == "cuda" and not scaled) or None
    optimizer = torch.optim.AdamW(groups, lr=peak, betas=tuple(optimisation.betas), fused=fused)
    total, per_epoch = steps(module)
    warmup = optimisation.warmup(total, per_epoch)
    floor = optimisation.min_lr / peak
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: optimisation.factor(step, total, warmup, floor)
    )
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def steps(module: L.LightningModule) -> tuple[int, int]:
    """Optimiser steps of the whole run and of an epoch.

    A task with an ``accumulation`` of its own steps after that many batches, and after the last of an epoch.
    """
    trainer = module.trainer
    trainer.fit_loop.setup_data()  # which Lightning leaves out where only max_steps is given
    total = int(trainer.estimated_stepping_batches)
    accumulation = max(trainer.accumulate_grad_batches, getattr(module, "accumulation", 1))
    per_epoch = math.ceil(trainer.num_training_batches / accumulation)
    if trainer.max_epochs not in (None, -1):
        total = min(total, per_epoch * trainer.max_epochs)
    return total, per_epoch


def parameter_groups(
    named: Iterable[tuple[str, nn.Parameter]],
    optimisation: Optimisation,
    peak: float,
    depth_of: DepthOf | None = None,
) -> list[dict[str, Any]]:
    """Groups of the trainable parameters by layer and weight decay, each with its learning rate."""
    named = list(named)
    trainable = [(name, parameter) for name, parameter in named if parameter.requires_grad]
    if not trainable:
        raise InputError("No parameter is left to train: everything is frozen.")
    depth_of = depth_of or encoder_layers(name for name, _ in named)
    layers = {name: depth_of(name) for name, _ in trainable}
    top = max((layer for layer in layers.values() if layer is not None), default=-1) + 1
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in trainable:
        layer = layers[name]
        layer, decayed = top if layer is None else layer, decays(name, parameter)
        group = groups.setdefault(
            (layer, decayed),
            {
                "params": [],
                "lr": peak * optimisation.layer_decay ** (top - layer),
                "weight_decay": optimisation.weight_decay if decayed else 0.0,
                "name": f"layer {layer}, {'' if decayed else 'not '}decayed",
            },
        )
        group["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


def decays(name: str, parameter: torch.Tensor) -> bool:
    """Whether weight decay applies: to matrices, not to gains, biases, temperatures, tokens and positions."""
    return parameter.ndim >= 2 and "positions" not in name and not name.endswith("token")


def encoder_layers(names: Iterable[str]) -> DepthOf:
    """Layer numbers from our encoders' parameter names, whatever stands before "encoder.".

    Encoders of different depth are aligned at their last blocks, so that each one's heads follow directly.
    """
    depths: dict[str, int] = {}
    for name in names:
        prefix, rest = _split(name)
        block = _BLOCK.match(rest)
        if prefix and block:
            depths[prefix] = max(depths.get(prefix, 0), int(block[1]) + 1)
    deepest = max(depths.values(), default=0)

    def layer(name: str) -> int | None:
        prefix, rest = _split(name)
        if prefix not in depths:
            return None
        below = deepest - depths[prefix]
        if block := _BLOCK.match(rest):
            return below + int(block[1]) + 1
        return None if rest.startswith("norm.") else below

    return layer


def _split(name: str) -> tuple[str, str]:
    match = _ENCODER.fullmatch(name)
    return (match[1], match[2]) if match else ("", name)
