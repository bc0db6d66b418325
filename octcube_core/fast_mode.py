"""Fast mode: run the volume's encoder on tissue and a sample of the background, and say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from octcube_core.objectives import Tower
from octcube_core.tissue import sample_tissue
from octcube_core.token_grid import TokenGrid


def in_fast_mode(towers: Sequence[Tower]) -> tuple[list[Tower], str]:
    """The towers, that of the volume with a ``TokenSample`` where one is to be had, and a sentence for the reader."""
    found = [_sampled(tower) for tower in towers]
    for tower in found:
        if tower.sample is not None:
            every = len(tower.sample.stand_in)
            return found, (
                f"Fast mode: {tower.sample.left_out} of {every} cubes, all of background, were left out of attention; "
                "probabilities and maps may differ slightly from those of a full run."
            )
    return found, f"Fast mode left nothing out: {_reason(towers)}."


def _sampled(tower: Tower) -> Tower:
    if not _has_background(tower):
        return tower
    assert isinstance(tower.grid, TokenGrid)
    # On the CPU in float32, as prepared: the model's own precision may round the noise away.
    return replace(tower, sample=sample_tissue(tower.volume[0, 0], tower.grid.cube))


def _has_background(tower: Tower) -> bool:
    return isinstance(tower.grid, TokenGrid) and tower.grid.shape[0] > 1 and not tower.by_layer


def _reason(towers: Sequence[Tower]) -> str:
    if not any(isinstance(tower.grid, TokenGrid) for tower in towers):
        return "the model looks at en-face images, which are tissue all over"
    if any(tower.by_layer for tower in towers):
        return "the model's head weighs whole layers of cubes"
    if not any(_has_background(tower) for tower in towers):
        return "a single B-scan is quick as a whole"
    return "no band of tissue stands out from the background of this volume"
