"""Saliency of every disease over the whole 3D token grid, from one pass through the trunk.

The maps are those of pytorch-grad-cam run on the whole model, for the output of the last block's first norm:
Grad-CAM++ (Chattopadhay et al., arXiv:1710.11063) or HiResCAM (Draelos and Carin, arXiv:2011.08891). Nothing before
that layer depends on the disease, so only the *tail* (last block, pooling, head) is run with gradients, from the
trunk's cached tokens, once; each disease then costs one backward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from octcube_core.models.heads import pool_tokens
from octcube_core.models.octcube import OCTCubeClassifier
from octcube_core.token_grid import Triple

OnMap = Callable[[int, int], None]

# fp16 rounds the gradient of a mean over thousands of tokens to zero; a power of two changes no other digit.
GRADIENT_SCALE = 2.0**12


class _Tail(nn.Module):
    """Last block, pooling and head; keeps the pooled vector of its latest pass."""

    def __init__(self, model: OCTCubeClassifier) -> None:
        super().__init__()
        self.model = model
        self.pooled: torch.Tensor | None = None

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        features = self.model.encoder.last_block(tokens)
        self.pooled = pool_tokens(features).detach()
        logits: torch.Tensor = self.model.head(features)
        return logits


class CachedTail:
    """The model's last part, run once on an exam's trunk tokens and then asked for one map after another.

    Use it as a context manager: the hooks on the model are gone, and its graph is freed, when the block ends.

    Parameters
    ----------
    model : OCTCubeClassifier
        Put in eval mode, as pytorch-grad-cam does.
    tokens : tensor, shape (1, 1 + z * y * x, dim)
        What ``model.encoder.trunk`` returned for one exam.
    grid : (z, y, x)
    method : str
        A key of ``SALIENCY_METHODS``.

    Attributes
    ----------
    logits : float32 array, shape (2 * diseases,)
    embedding : float32 array, shape (dim,)
        The pooled vector before the head.
    """

    def __init__(
        self,
        model: OCTCubeClassifier,
        tokens: torch.Tensor,
        grid: Triple,
        method: str = "gradcam++",
    ) -> None:
        from pytorch_grad_cam import GradCAMPlusPlus, HiResCAM  # slow to import

        self._grid = grid
        self._tail = _Tail(model)
        norm = model.encoder.blocks[-1].norm1
        self._tokens = tokens.detach().requires_grad_()
        method_class = {"gradcam++": GradCAMPlusPlus, "hirescam": HiResCAM}[method]
        self._cam = method_class(self._tail, [norm], reshape_transform=self._to_volume)
        self._recorded = self._cam.activations_and_grads
        try:
            with torch.enable_grad():
                self._logits = self._recorded(self._tokens)
            self._activation = self._recorded.activations[0].numpy()
            assert self._tail.pooled is not None  # set by the pass above
            self.logits: NDArray[np.float32] = self._logits.detach().float().cpu().numpy()[0]
            self.embedding: NDArray[np.float32] = self._tail.pooled.float().cpu().numpy()[0]
        except BaseException:
            self.close()
            raise

    def disease_map(self, disease: int) -> NDArray[np.float32]:
        """Saliency of the logit that says the disease is present, shape (z, y, x), not negative, unscaled."""
        self._recorded.gradients = []
        target = self._logits[0, 2 * disease + 1] * GRADIENT_SCALE
        # Gradients towards the tokens alone: none is computed or stored for a weight.
        torch.autograd.grad(target, self._tokens, retain_graph=True)
        gradient = self._recorded.gradients[0].numpy() / np.float32(GRADIENT_SCALE)
        # By position, as the methods name their parameters differently; the first three are not used.
        cam = self._cam.get_cam_image(None, None, None, self._activation, gradient, False)
        positive: NDArray[np.float32] = np.maximum(cam[0], 0)
        return positive

    def _to_volume(self, tokens: torch.Tensor) -> torch.Tensor:
        """Drop the class token: (1, 1 + z * y * x, dim) -> float32 (1, dim, z, y, x)."""
        channels_first = tokens[:, 1:].float().transpose(1, 2)
        return channels_first.reshape(1, -1, *self._grid)

    def close(self) -> None:
        """Take the hooks off the model and free the graph."""
        self._recorded.release()
        self._logits = self._tokens = torch.empty(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def disease_maps(
    tail: CachedTail, diseases: int, on_map: OnMap | None = None
) -> NDArray[np.float32]:
    """Raw maps of all diseases, shape (disease, z, y, x).

    ``on_map(done, total)`` is called after every map; what it raises ends the work.
    """
    maps = []
    for disease in range(diseases):
        maps.append(tail.disease_map(disease))
        if on_map is not None:
            on_map(disease + 1, diseases)
    return np.stack(maps)


def normalise(maps: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scale each map to a maximum of 1 over its whole volume, never per slice.

    Parameters
    ----------
    maps : array, shape (disease, z, y, x), not negative

    Returns
    -------
    scaled : array of the same shape
        A map without positive evidence stays zero.
    peaks : array, shape (disease,)
        Each map's maximum before scaling.
    """
    peaks: NDArray[np.float32] = maps.max(axis=(1, 2, 3))
    divisor = np.where(peaks > 0, peaks, np.float32(1))
    scaled: NDArray[np.float32] = np.divide(maps, divisor[:, None, None, None], dtype=np.float32)
    return scaled, peaks
