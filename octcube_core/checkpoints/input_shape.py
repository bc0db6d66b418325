"""What a model shall see: its token grid, and the rows and columns of position tables that state neither."""

from __future__ import annotations

import dataclasses
import math

from octcube_core.checkpoints.card import Architecture, ModelCard
from octcube_core.checkpoints.card_check import MOST_ALONG_AN_AXIS, MOST_TOKENS
from octcube_core.checkpoints.reference_names import ASSUMED, LAYOUT_NOTE, layout_note
from octcube_core.errors import CheckpointError
from octcube_core.token_grid import Triple, grid_of


def wanted_grid(input_shape: Triple, cube: Triple, planar: bool, source: str) -> Triple:
    """Token grid of an input that somebody asks for; CheckpointError if the model cannot see it."""
    shape = tuple(input_shape)
    if len(shape) != 3:
        raise CheckpointError(
            f"An input of {shape} has not the three sizes (frames, height, width) that {source} needs."
        )
    grid = grid_of(shape, cube)
    if grid is None:
        raise CheckpointError(
            f"An input of {shape} cannot be cut into the cubes of {cube} of {source}."
        )
    if planar and grid[0] != 1:
        raise CheckpointError(
            f"{source} sees images, so its input has {cube[0]} channels, not {shape[0]}."
        )
    if max(grid) > MOST_ALONG_AN_AXIS or math.prod(grid) > MOST_TOKENS:
        raise CheckpointError(
            f"An input of {shape} is {math.prod(grid):,} cubes for {source}; no more than {MOST_TOKENS:,} can be taken."
        )
    return grid


def table_shape(count: int, wanted: tuple[int, int] | None) -> tuple[int, int]:
    """(rows, columns) of a table of ``count`` in-plane positions.

    The wanted shape or a multiple of it if that fits; else the most nearly square one, rows <= columns.
    ValueError without any.
    """
    if count < 1:
        raise ValueError("a position table without positions")
    if wanted is not None:
        factor = math.sqrt(count / math.prod(wanted))
        rows, columns = round(wanted[0] * factor), round(wanted[1] * factor)
        if rows * columns == count and rows * wanted[1] == columns * wanted[0]:
            return rows, columns
    rows = next(rows for rows in range(math.isqrt(count), 0, -1) if count % rows == 0)
    return rows, count // rows


def assumed_table(card: ModelCard) -> bool:
    """Whether the rows and columns of a card's position tables are only the likeliest."""
    return layout_note(card).get("table") == ASSUMED


def with_input_shape(card: ModelCard, input_shape: Triple, source: str) -> ModelCard:
    """The card of the same weights for another input.

    Position tables stay, to be interpolated; where their rows and columns were only assumed, they are those that fit
    the input, as when the reference's own file is read with it.
    """
    architecture = card.architecture
    grid = wanted_grid(input_shape, architecture.cube, architecture.planar, source)
    table, decoder, notes = architecture.table_grid, card.decoder, card.notes
    if assumed_table(card):
        table = _reshaped(table, grid)
        if decoder is not None and decoder.position_table is not None:
            decoder = dataclasses.replace(
                decoder, position_table=_reshaped(decoder.position_table, grid)
            )
        note = {key: value for key, value in notes[LAYOUT_NOTE].items() if key != "table"}
        notes = {**notes, LAYOUT_NOTE: note}
    return dataclasses.replace(
        card, architecture=_on(architecture, grid, table), decoder=decoder, notes=notes
    )


def _reshaped(table: Triple, grid: Triple) -> Triple:
    return table[0], *table_shape(table[1] * table[2], grid[1:])


def _on(architecture: Architecture, grid: Triple, table: Triple) -> Architecture:
    stored = None if table == grid else table
    return dataclasses.replace(architecture, grid=grid, position_table=stored)
