"""The one attention function of all models, and the choice of what computes it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from octcube_core.errors import InputError
from octcube_core.runtime import bf16_in_vectors_only

try:
    from flash_attn import flash_attn_func
except Exception:  # absent, or built for another torch or CUDA: the package fails in many ways
    flash_attn_func = None

ATTENTION_BACKENDS = ("auto", "sdpa", "cudnn", "flash-attn")
QUERIES_AT_ONCE = 256  # so that a head's scores stay in a core's cache

# Not a ContextVar: backward passes on a GPU run in threads of PyTorch's own, which would not see it.
_backend = "auto"


@contextmanager
def attention_backend(name: str) -> Iterator[None]:
    """Choose what computes ``attention`` in this process while the context lasts.

    Parameters
    ----------
    name : str
        "auto" is flash-attn where that package is installed and can run (half precision on a GPU of the Ampere
        generation or later), else "sdpa". This order is not measured: no GPU was at hand. On a CPU that computes bf16
        in vectors but not in matrices, inference in bf16 takes plain matrix products, twice as fast as PyTorch's
        own kernel.
        "sdpa" is PyTorch's scaled dot-product attention, which takes the kernel it likes best. "cudnn" is its cuDNN
        kernel and no other, except under ``torch.use_deterministic_algorithms`` (so in ``analyze``), where PyTorch
        refuses cuDNN and "cudnn" is "sdpa". "flash-attn" is the flash-attn package and nothing else.

    Raises
    ------
    InputError
        If there is no such backend or it cannot run on this computer; from ``attention``, if it cannot run on the
        tensors given.
    """
    global _backend
    if name not in ATTENTION_BACKENDS:
        known = ", ".join(ATTENTION_BACKENDS)
        raise InputError(f"Unknown attention backend {name!r}; known are {known}.")
    if name == "flash-attn" and flash_attn_func is None:
        raise InputError("The package flash-attn is not installed, or not for this PyTorch.")
    if name == "cudnn" and not torch.cuda.is_available():
        raise InputError("The cudnn attention needs a CUDA GPU, and none can be used; use sdpa.")
    before, _backend = _backend, name
    try:
        yield
    finally:
        _backend = before


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    key_weight: torch.Tensor | None = None,
) -> torch.Tensor:
    """Softmax attention, scaled by the head dimension's square root.

    Parameters
    ----------
    query, key, value : tensors, shape (batch, heads, tokens, head_dim)
        There may be fewer queries than keys.
    key_weight : float32 tensor, shape (keys,), optional
        How often each key counts, as if it and its value were there so many times. The flash-attn package cannot do
        that: "auto" takes "sdpa" then.

    Returns
    -------
    tensor, shape (batch, heads, queries, head_dim)

    Raises
    ------
    InputError
        If the backend asked for by ``attention_backend`` cannot compute it.

    Notes
    -----
    Every backend computes the same function. The same bits twice come from all of them under
    ``torch.use_deterministic_algorithms``.
    """
    backend = _backend
    if backend == "auto":
        if _products_are_faster(query, key):
            return _products(query, key, value, key_weight)
        backend = "flash-attn" if key_weight is None and _flash_attn_runs(query) else "sdpa"
    if backend == "flash-attn":
        return _flash_attn(query, key, value, key_weight)
    bias = None if key_weight is None else _bias(key_weight, query)
    if backend == "cudnn" and not torch.are_deterministic_algorithms_enabled():
        return _cudnn(query, key, value, bias)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)


def _bias(key_weight: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    """What is added to the scores; in float32 where the kernel takes that, as bf16 is up to 1 % off."""
    dtype = torch.float32 if query.device.type == "cpu" else query.dtype
    return key_weight.log().to(dtype)[None, None, None]


def _products_are_faster(query: torch.Tensor, key: torch.Tensor) -> bool:
    return (
        query.device.type == "cpu"
        and query.dtype == torch.bfloat16
        and key.shape[2] >= QUERIES_AT_ONCE
        and not (torch.is_grad_enabled() and (query.requires_grad or key.requires_grad))
        and bf16_in_vectors_only()
    )


def _products(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, key_weight: torch.Tensor | None
) -> torch.Tensor:
    """Attention by plain matrix products, head by head and a few queries at once; without gradients."""
    output = torch.empty(query.shape, dtype=query.dtype)
    # What all keys share changes no weight, but makes scores large, whose digits bf16 then drops: it is taken away, as
    # SageAttention does (Zhang et al., arXiv:2410.02367).
    centred = (key.float() - key.mean(dim=2, keepdim=True, dtype=torch.float32)).to(key.dtype)
    scaled, across = query * query.shape[-1] ** -0.5, centred.transpose(-2, -1)
    if key_weight is not None:
        # Weights in the sums of values and in one more of their own are more exact than in scores of 8 bits.
        column = key_weight.to(value.dtype)[:, None].expand(*value.shape[:-1], 1)
        value = torch.cat([value * column, column], dim=-1)
    for batch, head in itertools.product(range(query.shape[0]), range(query.shape[1])):
        for start in range(0, query.shape[2], QUERIES_AT_ONCE):
            part = slice(start, start + QUERIES_AT_ONCE)
            scores = torch.mm(scaled[batch, head, part], across[batch, head])
            mixed = torch.mm(torch.softmax(scores, dim=-1), value[batch, head])
            if key_weight is not None:
                mixed = mixed[:, :-1] / mixed[:, -1:]
            output[batch, head, part] = mixed
    return output


def _flash_attn(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, key_weight: torch.Tensor | None
) -> torch.Tensor:
    if key_weight is not None:
        raise InputError("flash-attn cannot run in fast mode; use another attention.")
    if not _flash_attn_runs(query):
        raise InputError(
            "flash-attn needs bf16 or fp16 on a GPU of the Ampere generation or later; use another attention."
        )
    tokens_first = [tensor.transpose(1, 2) for tensor in (query, key, value)]
    deterministic = torch.are_deterministic_algorithms_enabled()
    output: torch.Tensor = flash_attn_func(*tokens_first, deterministic=deterministic)
    return output.transpose(1, 2)


def _cudnn(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    try:
        with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
            return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    except RuntimeError as error:
        if not any(text in str(error) for text in ("No available kernel", "No viable backend")):
            raise
        raise InputError(
            "cuDNN's attention needs bf16 or fp16 on a GPU that it supports; use another attention."
        ) from error


def _flash_attn_runs(query: torch.Tensor) -> bool:
    half = query.dtype in (torch.float16, torch.bfloat16)
    return (
        flash_attn_func is not None
        and half
        and query.is_cuda
        and torch.cuda.get_device_capability(query.device) >= (8, 0)
    )
