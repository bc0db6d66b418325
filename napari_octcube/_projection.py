"""The volume seen from the front, projected over a range of depth. Made on a thread. No Qt."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from napari_octcube._inference import Dispatch
from napari_octcube._layers import bscan_is_metric, world_spacing
from napari_octcube._session import Aspect
from octcube_core.exam import Exam

Kind = Literal["mean", "max"]
PERCENTILES = (1.0, 99.5)  # black and white of a projection


def project(exam: Exam, kind: Kind, first: int, last: int) -> NDArray[np.float32]:
    """Mean or maximum over the depth samples first to last, both included, shape (bscan, width)."""
    voxels = exam.volume.voxels
    projected = np.empty((voxels.shape[0], voxels.shape[2]), np.float32)
    for number, bscan in enumerate(voxels):  # one by one: other threads get their turn
        part = bscan[first : last + 1]
        projected[number] = part.mean(axis=0) if kind == "mean" else part.max(axis=0)
    return projected


def projection_layer(
    exam: Exam, projected: NDArray[np.float32], kind: Kind, aspect: Aspect
) -> Image:
    """A projection at every depth, for the view from the front."""
    bscans, depth, width = exam.volume.shape
    black, white = np.percentile(projected, PERCENTILES)
    unit = "micrometer" if bscan_is_metric(exam) else "pixel"
    return Image(
        np.broadcast_to(projected[:, None], (bscans, depth, width)),
        name=f"OCT, {'mean' if kind == 'mean' else 'maximum'} over depth",
        scale=world_spacing(exam, aspect),
        units=(unit, unit, unit),
        contrast_limits=(float(black), float(max(white, black + 1e-6))),
        colormap="gray",
        interpolation2d="linear",
    )


class Projecting:
    """Makes projections on threads; of several asked for, the newest is handed over."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self._request = 0

    def make(
        self,
        exam: Exam,
        kind: Kind,
        depth: tuple[int, int],
        on_made: Callable[[NDArray[np.float32]], None],
    ) -> None:
        """Project a volume over a range of depth samples."""
        self._request += 1
        request = self._request

        def finish(projected: NDArray[np.float32]) -> None:
            if request == self._request:
                on_made(projected)

        def work() -> None:
            projected = project(exam, kind, *depth)
            self._dispatch(lambda: finish(projected))

        threading.Thread(target=work, name="octcube projection", daemon=True).start()

    def forget(self) -> None:
        """What is being made is not wanted any more."""
        self._request += 1
