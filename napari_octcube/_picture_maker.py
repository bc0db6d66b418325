"""Makes fundus pictures on a thread: a photograph of 24 million pixels takes longer than a viewer may stand still."""

from __future__ import annotations

import threading
from collections.abc import Callable
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from napari_octcube._fundus_picture import fundus_picture
from napari_octcube._inference import Dispatch
from octcube_core.exam import EnFaceImage

Picture = NDArray[np.uint8]


class PictureMaker:
    """Makes each image's picture once. All methods and callbacks happen on the owner's thread.

    Parameters
    ----------
    dispatch : callable
        Runs a function on the owner's thread, from any thread.
    """

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self._made: WeakKeyDictionary[EnFaceImage, Picture] = WeakKeyDictionary()

    def made(self, image: EnFaceImage) -> Picture | None:
        """An image's picture, if there is one by now."""
        return self._made.get(image)

    def make(self, image: EnFaceImage, on_picture: Callable[[EnFaceImage, Picture], None]) -> None:
        """Make an image's picture and hand over both."""

        def finish(picture: Picture) -> None:
            self._made[image] = picture
            on_picture(image, picture)

        def work() -> None:
            picture = fundus_picture(image)
            self._dispatch(lambda: finish(picture))

        threading.Thread(target=work, name="octcube picture", daemon=True).start()
