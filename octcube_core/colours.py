"""The colours of a saliency overlay, one and the same in the viewer, the montage and every export."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Every 1/16 of the upper four fifths of perceptually uniform maps that are safe for the colour-blind; their darkest
# fifth would vanish on a dark B-scan. "plasma" and "viridis" are by N. J. Smith and S. van der Walt (CC0), "cividis" by
# J. R. Nuñez, C. R. Anderton and R. S. Renslow (doi:10.1371/journal.pone.0199239).
_STOPS = {
    "plasma": """
        6a00a8 7e03a8 8f0da4 a11b9b b12a90 bf3984 cc4778 d6556d e16462 ea7457 f2844b f89540 fca636 feba2c fcce25
        f7e425 f0f921
    """,
    "viridis": """
        414487 3b528b 355f8d 2f6c8e 2a788e 25848e 21918c 1e9c89 22a884 2fb47c 44bf70 5ec962 7ad151 9bd93c bddf26
        dfe318 fde725
    """,
    "cividis": """
        35456c 434e6c 4f576c 5b606e 666970 727274 7d7c78 888578 948e77 a19975 aea371 bcae6c c8b866 d6c35d e5cf52
        f3db42 fee838
    """,
}
OVERLAY_COLORMAPS = tuple(_STOPS)  # the first is the default


def overlay_colours(
    saliency: NDArray[Any], colormap: str = OVERLAY_COLORMAPS[0], threshold: float = 0.0
) -> NDArray[np.float64]:
    """Colours of saliency: an overlay that is opaque at 0 would hide healthy anatomy.

    Parameters
    ----------
    saliency : array in [0, 1]
    colormap : str
        One of ``OVERLAY_COLORMAPS``.
    threshold : float
        Saliency below it is transparent.

    Returns
    -------
    float64 array, shape (..., 4)
        RGBA in [0, 1], alpha rising linearly from 0 to 1.
    """
    value = np.clip(saliency, 0.0, 1.0)
    stops = _colours_of(colormap)
    positions = np.linspace(0.0, 1.0, len(stops))
    channels = [np.interp(value, positions, stops[:, channel]) for channel in range(3)]
    return np.stack([*channels, np.where(value < threshold, 0.0, value)], axis=-1)


def _colours_of(colormap: str) -> NDArray[np.float64]:
    codes = [bytes.fromhex(code) for code in _STOPS[colormap].split()]
    return np.array([list(code) for code in codes]) / 255
