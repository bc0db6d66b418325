"""Saliency over the whole 3D token grid, from one pass through the trunk.

The maps are those of pytorch-grad-cam run on the whole model, for the output of a norm of the last block: Grad-CAM
(Selvaraju et al., arXiv:1610.02391), Grad-CAM++ (Chattopadhay et al., arXiv:1710.11063), HiResCAM (Draelos and Carin,
arXiv:2011.08891), LayerCAM (Jiang et al., doi:10.1109/TIP.2021.3089943), XGrad-CAM (Fu et al., arXiv:2008.02312) and
Eigen-CAM (Muhammad and Yeasin, arXiv:2008.00299). Nothing before that norm depends on what is explained, so only the
*tail* behind it is run with gradients, once; each map then costs one backward pass.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from octcube_core.errors import InputError
from octcube_core.models.octcube import OCTCubeEncoder, Pool
from octcube_core.tissue import TokenSample

Project = Callable[
    [torch.Tensor], torch.Tensor
]  # pooled tokens (1, dim), or by layer -> outputs (1, n)
Target = Callable[[torch.Tensor], torch.Tensor]  # outputs (1, n) -> the scalar to explain

# fp16 rounds the gradient of a mean over thousands of tokens to zero; a power of two changes no other digit.
GRADIENT_SCALE = 2.0**12


class CachedTail:
    """The part of a model behind the last block's norm, run once and then asked for one map after another.

    Use it as a context manager: its graph is freed when the block ends.

    Parameters
    ----------
    encoder : OCTCubeEncoder
        In eval mode.
    project : callable
        The rest of the model: the pooled tokens (1, dim) to outputs (1, n).
    tokens : tensor, shape (1, 1 + tokens, dim)
        What ``encoder.trunk`` returned for one exam.
    grid : tuple of int
        (z, y, x) of a volume or (rows, columns) of an image; the shape of every map.
    layer : 'norm1' or 'norm2'
        Before the last block's attention, or after it (cheaper, as no gradient crosses the attention).
    layers : int, optional
        Have ``project`` take the mean over each of so many layers of cubes, (1, layers, dim).
    pooling : callable, optional
        What pools the tokens in the place of their mean; it must know of ``sample``.
    sample : TokenSample, optional
        What ``tokens`` are a sample of, if they are one, and ``trunk`` was told the weights of. Each of them is then
        weighed as the many tokens that it stands for, by every method; maps are zero outside of tissue.

    Attributes
    ----------
    outputs : tensor, shape (1, n), with its graph
    pooled : float32 array, shape (dim,)
        The pooled tokens, before ``project``.
    """

    def __init__(
        self,
        encoder: OCTCubeEncoder,
        project: Project,
        tokens: torch.Tensor,
        grid: Sequence[int],
        layer: str,
        sample: TokenSample | None = None,
        layers: int | None = None,
        pooling: Pool | None = None,
    ) -> None:
        self._grid = tuple(grid)
        self._sample = sample
        self._has_class_token = layer == "norm1"
        weight = None if sample is None else sample.weight.to(tokens.device)
        with torch.no_grad():
            if layer == "norm1":
                self._activation = encoder.last_block.norm1(tokens)
            else:
                attended = encoder.attend(tokens, weight)[:, 1:]
                self._activation = encoder.last_block.norm2(attended)
        self._activation.requires_grad_()
        with torch.enable_grad():
            if layer == "norm1":
                mixed = encoder.mix(self._activation, weight)
                pooled = encoder.pool(tokens + mixed, weight, layers, pooling)
            else:
                pooled = encoder.pool_norm(attended, self._activation, weight, layers, pooling)
            self.outputs = project(pooled)
        mean = pooled if layers is None else pooled.mean(dim=1)
        self.pooled: NDArray[np.float32] = mean.detach().float().cpu().numpy()[0]
        self._activation_array: NDArray[np.float32] | None = None
        self._without_target: dict[str, NDArray[np.float32]] = {}

    def map(self, target: Target, method: str = "gradcam++") -> NDArray[np.float32]:
        """Saliency of a scalar made of ``outputs``, on the grid; not negative, unscaled.

        ``method`` is a key of ``SALIENCY_METHODS``. Raises InputError if gradients overflow the model's precision.
        """
        weighting = _weighting(method)
        if self._activation_array is None:
            self._activation_array = self._of_all(self._channels_first(self._activation.detach()))
        if not weighting.uses_gradients:  # the same for every target
            if method not in self._without_target:
                self._without_target[method] = self._weighted(weighting, None)
            return self._without_target[method]
        with torch.enable_grad():
            scalar = target(self.outputs) * GRADIENT_SCALE
        (gradient,) = torch.autograd.grad(scalar, self._activation, retain_graph=True)
        unscaled = self._channels_first(gradient) / np.float32(GRADIENT_SCALE)
        if not np.isfinite(unscaled).all():
            raise InputError(
                "The saliency is not finite in this precision; run the model in bf16 or fp32."
            )
        if self._sample is not None:  # a token's gradient is that of all that it stands for
            unscaled /= self._sample.weight.numpy()[:, None]
        return self._weighted(weighting, self._of_all(unscaled))

    def _weighted(
        self, weighting: Any, gradient: NDArray[np.float32] | None
    ) -> NDArray[np.float32]:
        # By position, as the methods name their parameters differently; the first three are not used.
        cam = weighting.get_cam_image(None, None, None, self._activation_array, gradient, False)
        positive: NDArray[np.float32] = np.maximum(cam.reshape(self._grid), 0).astype(np.float32)
        return positive if self._sample is None else positive * self._sample.tissue.numpy()

    def _of_all(self, picture: NDArray[np.float32]) -> NDArray[np.float32]:
        """A picture of all tokens from that of the sample: every method then sums and weighs as it would in full."""
        return picture if self._sample is None else picture[:, :, self._sample.stand_in.numpy()]

    def _channels_first(self, tokens: torch.Tensor) -> NDArray[np.float32]:
        """Tokens without the class token as a float32 picture (1, dim, tokens, 1).

        No method looks at neighbours, and some know pictures only, not volumes.
        """
        inner = tokens[:, 1:] if self._has_class_token else tokens
        picture: NDArray[np.float32] = inner.float().cpu().transpose(1, 2).unsqueeze(-1).numpy()
        return picture

    def close(self) -> None:
        """Free the graph."""
        self.outputs = self._activation = torch.empty(0)
        self._activation_array = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@functools.cache
def _weighting(method: str) -> Any:
    """pytorch-grad-cam's object for a method, on a model that it never runs: only its weighting is used."""
    import pytorch_grad_cam  # slow to import

    classes = {
        "gradcam++": pytorch_grad_cam.GradCAMPlusPlus,
        "gradcam": pytorch_grad_cam.GradCAM,
        "hirescam": pytorch_grad_cam.HiResCAM,
        "layercam": pytorch_grad_cam.LayerCAM,
        "xgradcam": pytorch_grad_cam.XGradCAM,
        "eigencam": pytorch_grad_cam.EigenCAM,
    }
    return classes[method](torch.nn.Linear(1, 1), [])


def disease_logit(disease: int) -> Target:
    """Target that explains why a disease is scored as present: its second logit."""
    return output(2 * disease + 1)


def output(number: int) -> Target:
    """Target that is one of the outputs."""
    return lambda outputs: outputs[0, number]


def saliency_maps(
    tail: CachedTail, targets: Sequence[Target], method: str = "gradcam++"
) -> NDArray[np.float32]:
    """Raw maps of several targets, shape (target, *grid)."""
    return np.stack([tail.map(target, method) for target in targets])


def normalise(maps: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scale each map to a maximum of 1 over its whole volume, never per slice.

    Parameters
    ----------
    maps : array, shape (target, *grid), not negative

    Returns
    -------
    scaled : array of the same shape
        A map without positive evidence stays zero.
    peaks : array, shape (target,)
        Each map's maximum before scaling.
    """
    axes = tuple(range(1, maps.ndim))
    peaks: NDArray[np.float32] = maps.max(axis=axes)
    divisor = np.where(peaks > 0, peaks, np.float32(1))
    scaled: NDArray[np.float32] = np.divide(maps, np.expand_dims(divisor, axes), dtype=np.float32)
    return scaled, peaks
