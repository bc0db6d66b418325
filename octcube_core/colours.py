"""The colours of a saliency overlay, one and the same in the viewer, the montage and every export."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Every 1/16 of the upper four fifths of the colour map "plasma" by N. J. Smith and S. van der Walt (CC0): perceptually
# uniform and safe for the colour-blind. Its darkest blues would vanish on a dark B-scan.
_STOPS = (
    (106, 0, 168),
    (126, 3, 168),
    (143, 13, 164),
    (161, 27, 155),
    (177, 42, 144),
    (191, 57, 132),
    (204, 71, 120),
    (214, 85, 109),
    (225, 100, 98),
    (234, 116, 87),
    (242, 132, 75),
    (248, 149, 64),
    (252, 166, 54),
    (254, 186, 44),
    (252, 206, 37),
    (247, 228, 37),
    (240, 249, 33),
)


def overlay_colours(saliency: NDArray[Any]) -> NDArray[np.float64]:
    """Colours of saliency in [0, 1]: RGBA in [0, 1], shape (..., 4), alpha rising linearly from 0 to 1.

    An overlay that is opaque at 0 would hide healthy anatomy.
    """
    value = np.clip(saliency, 0.0, 1.0)
    positions = np.linspace(0.0, 1.0, len(_STOPS))
    channels = [np.interp(value, positions, [stop[c] / 255 for stop in _STOPS]) for c in range(3)]
    return np.stack([*channels, value], axis=-1)
