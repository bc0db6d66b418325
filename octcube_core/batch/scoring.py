"""What a model says about one prepared exam, by a single pass through the network: the numbers of ``analyze``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import torch

from octcube_core import memory
from octcube_core.batch.prepared import ArrayInputs
from octcube_core.errors import InputError
from octcube_core.fast_mode import in_fast_mode
from octcube_core.findings import Findings, findings
from octcube_core.models.family import Model
from octcube_core.objectives import Tower, crop_notes, towers_of
from octcube_core.runtime import deterministic, device_label, precision_label, synchronise
from octcube_core.saliency import CachedTail, normalise
from octcube_core.token_grid import TokenGrid
from octcube_core.tower_run import run_tower


@dataclass(frozen=True, eq=False)
class Scored:
    """What a model says about an exam.

    ``key_bscan`` is the first of ``Analysis.key_bscans`` of the top target, None without evidence or volume.
    """

    found: Findings
    key_bscan: int | None
    notes: tuple[str, ...]
    device: str
    precision: str
    seconds: float


def score(model: Model, inputs: ArrayInputs, fast: bool = False) -> Scored:
    """Score an exam as ``analyze`` does, and explain nothing but where the top target is seen best.

    Raises
    ------
    InputError
        If the results are not finite.
    NotEnoughMemory
        If memory runs out in the smallest plan too.
    """
    begin = time.perf_counter()
    given = {name: (torch.from_numpy(values), grid) for name, (values, grid) in inputs.items()}
    towers = towers_of(given, model)
    notes = crop_notes(towers)
    if fast:
        towers, note = in_fast_mode(towers)
        notes.append(note)
    found, key = memory.run(model, lambda: _run(model, towers), lambda: None)
    parameter = next(model.parameters())
    synchronise(parameter.device)
    if ran_out := memory.memory_note(model):
        notes.append(ran_out)
    return Scored(
        found,
        key,
        tuple(notes),
        device_label(parameter.device),
        precision_label(parameter.dtype),
        time.perf_counter() - begin,
    )


def _run(model: Model, towers: list[Tower]) -> tuple[Findings, int | None]:
    device = next(model.parameters()).device
    with deterministic(device), ExitStack() as open_tails:
        tails = {
            tower.modality: open_tails.enter_context(
                run_tower(tower, device, model.card.saliency_layer)
            )
            for tower in towers
        }
        found = findings(model, tails)
        return found, _key_bscan(model, towers, tails, found)


def _key_bscan(
    model: Model, towers: list[Tower], tails: Mapping[str, CachedTail], found: Findings
) -> int | None:
    for tower in towers:
        for objective in found.objectives:
            target = objective.by_modality.get(tower.modality)
            if (
                objective.abbreviation == found.top_target
                and target is not None
                and isinstance(tower.grid, TokenGrid)
            ):
                try:
                    saliency = tails[tower.modality].map(target, model.card.saliency)
                except InputError:  # gradients overflow in fp16, which takes nothing from the score
                    return None
                scaled, _ = normalise(saliency[None])
                return next(iter(tower.grid.key_bscans(scaled[0], 1)), None)
    return None
