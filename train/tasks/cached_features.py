"""A contrastive loss over more exams than a graph fits, exactly: features are cached, then forwarded again.

Gradient caching (Gao et al., arXiv:2101.06983): the features of all micro-batches of all processes are computed
first, the loss is differentiated with respect to them, and each micro-batch is run again, in the same random state, to
carry its features' gradients on into the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed

from train.engine.distributed import gather, rank, world_size
from train.tasks.contrastive import Agreement

Batch = dict[str, Any]
# Features (exams, modalities, dim), present, patient and the exams whose share is wanted -> their agreement.
Compare = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, slice], Agreement]


def micro_batches(batch: Batch, size: int | None) -> list[Batch]:
    """Cut a batch of tensors, and of dictionaries of them, into parts of at most ``size`` exams."""
    exams = len(batch["row"])

    def part(value: Any, rows: slice) -> Any:
        if isinstance(value, dict):
            return {name: part(inner, rows) for name, inner in value.items()}
        return value[rows]

    step = size or exams
    return [part(batch, slice(start, start + step)) for start in range(0, exams, step)]


class CachedFeatures:
    """Features of micro-batches, of which the last keeps its graph and the others are run again for theirs.

    Parameters
    ----------
    embed : function of a micro-batch, giving its features (exams, modalities, dim)
    parts : the micro-batches

    Attributes
    ----------
    features : tensor, shape (all exams, modalities, dim), without a graph
    """

    def __init__(self, embed: Callable[[Batch], torch.Tensor], parts: Sequence[Batch]) -> None:
        self._embed = embed
        self._again: list[tuple[Batch, RandomState]] = []
        features = []
        for part in parts[:-1]:
            self._again.append((part, RandomState(part["row"].device)))
            with torch.no_grad():
                features.append(embed(part))
        self._last = embed(parts[-1])
        self._sizes = [len(part["row"]) for part in parts]
        self.features = torch.cat([*features, self._last.detach()])

    def surrogate(self, gradient: torch.Tensor) -> torch.Tensor:
        """Carry the features' gradient into the weights, but for the part whose backward pass the caller runs.

        Returns a scalar whose gradient is that part's. Gradients must not be synchronised between processes before.
        """
        *gradients, last = gradient.split(self._sizes)
        remaining, self._last = (self._last * last).sum(), None
        for (part, state), wanted in zip(self._again, gradients, strict=True):
            _backward(remaining)
            after = RandomState(part["row"].device)
            state.restore()
            remaining = (self._embed(part) * wanted).sum()
            after.restore()
        return remaining


def _backward(scalar: torch.Tensor) -> None:
    # Autocast is for forward passes: PyTorch wants backward passes outside of it.
    with torch.autocast(scalar.device.type, enabled=False):
        scalar.backward()


class RandomState:
    """The random state of the CPU and of the device that trains, to come back to."""

    def __init__(self, device: torch.device) -> None:
        self._cpu = torch.get_rng_state()
        self._module = None if device.type == "cpu" else torch.get_device_module(device)
        self._device = None if self._module is None else self._module.get_rng_state(device)
        self._place = device

    def restore(self) -> None:
        """Draw from here on what was drawn after this state was taken."""
        torch.set_rng_state(self._cpu)
        if self._module is not None:
            self._module.set_rng_state(self._device, self._place)


@dataclass(frozen=True)
class JointGradients:
    """The loss over the exams of all processes, and its gradients.

    Attributes
    ----------
    agreement : Agreement, the same in all processes
    features : gradient of this process's features, times the number of processes, by which data-parallel training
        divides the sum of all gradients
    parameters : gradients of the loss's own parameters, the same in all processes
    """

    agreement: Agreement
    features: torch.Tensor
    parameters: list[torch.Tensor]


def joint_gradients(
    features: torch.Tensor,
    present: torch.Tensor,
    patient: torch.Tensor,
    compare: Compare,
    parameters: Sequence[torch.Tensor],
    local_loss: bool,
) -> JointGradients:
    """Differentiate a loss over the exams of all processes with respect to the features of this one.

    With ``local_loss`` each process compares its own exams with all others and the gradients are gathered, so that the
    work and memory per process grow with the number of processes only, not with its square; the result is the same
    (OpenCLIP's local loss with gradient gathering). Without, each compares all with all.
    """
    world, own = world_size(), len(features)
    joint = gather(features).requires_grad_()
    mine = slice(rank() * own, (rank() + 1) * own)
    shared = local_loss and world > 1
    # Under autocast the similarities would be of 8 bits.
    with torch.enable_grad(), torch.autocast(features.device.type, enabled=False):
        found = compare(joint, gather(present), gather(patient), mine if shared else slice(None))
        gradients = torch.autograd.grad(found.loss, [joint, *parameters])
    sums = [*gradients, found.loss.detach().clone(), found.hits, found.tries]
    if shared:
        for tensor in sums:
            distributed.all_reduce(tensor)
    *gradients, loss, hits, tries = sums
    return JointGradients(
        Agreement(loss, hits, tries), gradients[0][mine] * world, list(gradients[1:])
    )
