"""The one attention function of all models."""

from __future__ import annotations

import importlib.util

import torch
import torch.nn.functional as F

_HAS_FLASH_ATTN = importlib.util.find_spec("flash_attn") is not None


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
    (half precision on a GPU). Both compute the same function.
    """
    if _HAS_FLASH_ATTN and query.is_cuda and query.dtype in (torch.float16, torch.bfloat16):
        from flash_attn import flash_attn_func

        tokens_first = [tensor.transpose(1, 2) for tensor in (query, key, value)]
        output: torch.Tensor = flash_attn_func(*tokens_first).transpose(1, 2)
        return output
    return F.scaled_dot_product_attention(query, key, value)
