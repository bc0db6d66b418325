"""Keeps all of an exam in view while the window finds its layout. Knows napari's public viewer only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_octcube._inference import Dispatch


class WholeView:
    """Fits the view to the layers, again whenever the canvas changes its size, until somebody moves the camera.

    napari fits the first layer before its controls have taken their part of the window, which cuts the image.

    Parameters
    ----------
    viewer : napari.Viewer
    defer : callable
        Runs a function soon: a screenshot may change the canvas for a moment, and a new layer is not yet laid out.
    """

    def __init__(self, viewer: Any, defer: Dispatch) -> None:
        self._viewer = viewer
        self._defer = defer
        self._fitted: NDArray[np.float64] | None = None  # the camera as it was left
        self._size: tuple[int, int] | None = None  # of the canvas then
        viewer.canvas.events.size.connect(self._on_size)

    def close(self) -> None:
        """Leave the view alone from now on."""
        self.release()
        self._viewer.canvas.events.size.disconnect(self._on_size)

    def release(self) -> None:
        """Leave the view alone until it is fitted again."""
        self._fitted = None

    def fit(self) -> None:
        """Show everything."""
        self._viewer.reset_view()
        self._fitted, self._size = self._camera(), self._viewer.canvas.size

    def _camera(self) -> NDArray[np.float64]:
        camera = self._viewer.scene.camera
        return np.array([camera.zoom, *camera.center, *camera.angles])

    def _on_size(self) -> None:
        if self._fitted is not None:
            self._defer(self._fit_again)

    def _fit_again(self) -> None:
        if self._fitted is None or self._viewer.canvas.size == self._size:
            return
        if np.allclose(self._camera(), self._fitted):
            self.fit()
        else:
            self.release()
