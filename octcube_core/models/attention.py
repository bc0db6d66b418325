"""The one attention function of all models."""

from __future__ import annotations

import torch
import torch.nn.functional as F

try:
    from flash_attn import flash_attn_func
except Exception:  # absent, or built for another torch or CUDA: the package fails in many ways
    flash_attn_func = None


def attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Softmax attention, scaled by the head dimension's square root.

    Parameters
    ----------
    query, key, value : tensors, shape (batch, heads, tokens, head_dim)

    Returns
    -------
    tensor, shape (batch, heads, tokens, head_dim)

    Notes
    -----
    PyTorch's scaled dot-product attention; the flash-attn package instead where it is installed and can run
    (half precision on a GPU of the Ampere generation or later). Both compute the same function.
    """
    if flash_attn_func is not None and _flash_attn_runs(query):
        tokens_first = [tensor.transpose(1, 2) for tensor in (query, key, value)]
        output: torch.Tensor = flash_attn_func(*tokens_first).transpose(1, 2)
        return output
    return F.scaled_dot_product_attention(query, key, value)


def _flash_attn_runs(query: torch.Tensor) -> bool:
    half = query.dtype in (torch.float16, torch.bfloat16)
    return query.is_cuda and half and torch.cuda.get_device_capability(query.device) >= (8, 0)
