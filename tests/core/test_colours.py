"""The colours of an overlay: they rise, they are told apart, and nothing shows below the threshold."""

from __future__ import annotations

import numpy as np
import pytest

from octcube_core.colours import OVERLAY_COLORMAPS, overlay_colours

VALUES = np.linspace(0, 1, 65)
# Of linear RGB, how a person without red-sensitive cones sees it: H. Viénot, H. Brettel and J. Mollon 1999.
PROTANOPIA = np.array([[0.11238, 0.88762, 0.0], [0.11238, 0.88762, 0.0], [0.00401, -0.00401, 1.0]])


@pytest.mark.parametrize("colormap", OVERLAY_COLORMAPS)
def test_alpha_rises_and_more_saliency_is_brighter(colormap: str) -> None:
    colours = overlay_colours(VALUES, colormap)
    assert colours[0, 3] == 0
    assert (np.diff(colours[:, 3]) > 0).all()
    assert (np.diff(colours[:, :3] @ [0.2126, 0.7152, 0.0722]) > 0).all()


@pytest.mark.parametrize("colormap", OVERLAY_COLORMAPS)
def test_brightness_alone_tells_values_apart_without_red_sensitive_cones(colormap: str) -> None:
    seen = overlay_colours(VALUES, colormap)[:, :3] ** 2.2 @ PROTANOPIA.T
    lightness = np.cbrt(seen @ [0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > 0).all()
    assert lightness[-1] - lightness[0] > 0.3


def test_below_the_threshold_it_is_transparent_and_above_unchanged() -> None:
    cut, plain = overlay_colours(VALUES, threshold=0.5), overlay_colours(VALUES)
    assert (cut[VALUES < 0.5, 3] == 0).all()
    np.testing.assert_array_equal(cut[VALUES >= 0.5], plain[VALUES >= 0.5])


def test_colour_maps_differ() -> None:
    colours = [overlay_colours(VALUES, name) for name in OVERLAY_COLORMAPS]
    assert all(np.abs(one - colours[0]).max() > 0.3 for one in colours[1:])
