"""An en-face image of any type as 8-bit grey or RGB for the screen. No Qt."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from octcube_core.exam import EnFaceImage
from octcube_core.fundus_views import image_picture

MAX_SIDE = 2048  # a fundus photograph may have 6000 pixels a side, and is drawn anew at every step


def fundus_picture(image: EnFaceImage) -> NDArray[np.uint8]:
    """What to draw of an image, as ``image_picture`` shows it; fewer pixels than it has if it is large."""
    step = max(1, -(-max(image.shape) // MAX_SIDE))
    return np.ascontiguousarray(image_picture(image.pixels[step // 2 :: step, step // 2 :: step]))
