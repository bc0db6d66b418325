"""What to do when memory runs out: free what can be freed and try again with a smaller plan."""

from __future__ import annotations

import errno
import gc
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from octcube_core.errors import NotEnoughMemory, OCTCubeError
from octcube_core.models.blocks import MLP, SelfAttention
from octcube_core.models.family import Model
from octcube_core.runtime import (
    choose_precision,
    choose_threads,
    computes_in_bf16,
    device_label,
    precision_label,
)

T = TypeVar("T")
CPU = torch.device("cpu")
CHUNK_TOKENS = 512

# How PyTorch's allocators and the libraries under it say it when they raise a plain RuntimeError.
_MESSAGES = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",  # on Windows
    "MPS backend out of memory",
    "Cannot allocate memory",  # a file that could not be mapped
    "CUDA error: out of memory",  # before there is an allocator, e.g. on a GPU that others have filled
    "CUDA driver error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "could not create a primitive",  # oneDNN, which says the same of a kernel that a CPU lacks
    "could not execute a primitive",
    "std::bad_alloc",
)
_PLANS = "memory_plans"  # on a model: the plan asked for, and the one that worked


@dataclass(frozen=True)
class Plan:
    """How a model is run.

    Attributes
    ----------
    device : torch.device
    dtype : torch.dtype
        Of weights and activations.
    chunked : bool
        Whether MLPs and attention take ``CHUNK_TOKENS`` tokens at a time; slower, the same numbers but for rounding.
    rounded : bool
        Whether the weights went through a lower precision than ``dtype``.
    """

    device: torch.device
    dtype: torch.dtype
    chunked: bool = False
    rounded: bool = False


def smaller_plans(plan: Plan) -> Iterator[Plan]:
    """Plans that need less memory and less, in the order in which they are tried.

    In chunks; then in bf16, on a GPU only if it computes in it; then on the CPU.
    """
    if not plan.chunked:
        plan = replace(plan, chunked=True)
        yield plan
    if plan.dtype == torch.float32 and (plan.device == CPU or computes_in_bf16(plan.device)):
        plan = replace(plan, dtype=torch.bfloat16, rounded=False)
        yield plan
    if plan.device != CPU:
        # In half precision a CPU that does not compute in it is slower by far.
        whole = plan.dtype == torch.float32
        dtype = plan.dtype if whole else choose_precision("auto", CPU)
        plan = replace(plan, device=CPU, dtype=dtype, rounded=not whole and dtype == torch.float32)
        yield plan
        yield from smaller_plans(plan)


def plan_of(model: Model) -> Plan:
    """The plan that a model is in."""
    parameter = next(model.parameters())
    chunked = any(module.chunk_tokens is not None for module in _chunkable(model))
    _, latest = getattr(model, _PLANS, (None, None))
    rounded = latest is not None and latest.rounded and latest.dtype == parameter.dtype
    return Plan(parameter.device, parameter.dtype, chunked, rounded)


def run(model: Model, work: Callable[[], T], on_retry: Callable[[], None]) -> T:
    """Do some work with a model, again in smaller and smaller plans while memory runs out.

    The model stays in the plan that worked, so that the next exam of a batch does not run out of memory first;
    ``memory_note`` says so for as long as that is so. ``on_retry`` is called before every new try.

    Raises
    ------
    NotEnoughMemory
        If the smallest plan needs too much as well. Whatever else ``work`` raises goes through.
    """

    def attempt(plan: Plan) -> T:
        _bring_into(model, plan)
        return work()

    with explained(
        f"Memory ran out: an analysis by {model.card.name} needs about {_needed_gigabytes(model):.1f} GB; "
        "close other programs, or use a smaller model or a computer with more memory."
    ):
        return try_plans(plan_of(model), attempt, on_retry)


def try_plans(
    plan: Plan, attempt: Callable[[Plan], T], on_retry: Callable[[], None] | None = None
) -> T:
    """The first result of ``attempt(plan)``, from the plan asked for downwards, that fits into memory.

    Raises
    ------
    NotEnoughMemory
        If none does. Whatever else ``attempt`` raises goes through.
    """
    for number, smaller in enumerate((plan, *smaller_plans(plan))):
        if number and on_retry is not None:
            on_retry()
        try:
            return attempt(smaller)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        _free()  # only here, where the exception's frames no longer hold the tensors
    raise NotEnoughMemory("Memory ran out; close other programs, or use a smaller model.")


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an exception, or the one that an error of ours was made of, says that memory ran out."""
    if isinstance(error, NotEnoughMemory):
        return True
    if isinstance(error, OCTCubeError):
        return is_out_of_memory(error.__cause__)
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM  # a file could not be mapped
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _MESSAGES)


@contextmanager
def explained(message: str) -> Iterator[None]:
    """Raise NotEnoughMemory with this message where memory runs out and no smaller plan helps."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise NotEnoughMemory(message) from error


def remember(model: Model, asked: Plan, plan: Plan) -> None:
    """Note on a model, which is in ``plan``, that another was asked for."""
    first, _ = getattr(model, _PLANS, (asked, None))
    setattr(model, _PLANS, (first, plan))
    for module in _chunkable(model):
        module.chunk_tokens = CHUNK_TOKENS if plan.chunked else None


def memory_note(model: Model) -> str | None:
    """One sentence on how a model runs otherwise than asked because memory ran out; None if it does not."""
    asked, _ = getattr(model, _PLANS, (None, None))
    now = plan_of(model)
    if asked is None:
        return None
    changes = []
    if now.chunked and not asked.chunked:
        changes.append("in chunks of tokens")
    if now.dtype != asked.dtype:
        changes.append(f"in {precision_label(now.dtype)} instead of {precision_label(asked.dtype)}")
    elif now.rounded:
        changes.append(f"in {precision_label(now.dtype)} with weights rounded to bf16")
    if now.device != asked.device:
        changes.append(f"on the {device_label(now.device)}")
    if not changes:
        return None
    where = "" if asked.device == CPU else f" on {device_label(asked.device)}"
    listed = " and ".join([", ".join(changes[:-1]), changes[-1]] if changes[1:] else changes)
    return f"Memory ran out{where}, so the model ran {listed}."


def _bring_into(model: Model, plan: Plan) -> None:
    now = plan_of(model)
    if now != plan:
        remember(model, now, plan)
    elif all((each.device, each.dtype) == (plan.device, plan.dtype) for each in model.parameters()):
        return
    # One parameter after another. If memory runs out amid them, the next plan, or exam, moves all of them again.
    model.to(device=plan.device, dtype=plan.dtype)
    if plan.device == CPU:
        torch.set_num_threads(choose_threads())


def _chunkable(model: Model) -> list[MLP | SelfAttention]:
    return [module for module in model.modules() if isinstance(module, MLP | SelfAttention)]


def _free() -> None:
    gc.collect()
    torch.cuda.empty_cache()  # nothing without CUDA
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


def _needed_gigabytes(model: Model) -> float:
    """Memory of a process that analyses in the model's present plan, roughly."""
    item = plan_of(model).dtype.itemsize
    weights = sum(parameter.numel() for parameter in model.parameters()) * item
    architecture = model.card.architecture
    values = math.prod(architecture.grid) * architecture.embed_dim
    return 0.5 + (weights + values * (12 * item + 10 * 4)) / 1e9
