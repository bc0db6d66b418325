"""Whether the JSON of a model card is what the card's dataclasses say, in types and in values. No torch, no numpy."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from octcube_core.checkpoints.card import (
        Alignment,
        Architecture,
        Decoder,
        ModelCard,
        Pooling,
        SliceHead,
    )

T = TypeVar("T")

# Far beyond any model, and small enough that nothing is worth an attack by size.
MOST_FEATURES = 2**20
MOST_BLOCKS = 1000
MOST_MODALITIES = 16
MOST_ALONG_AN_AXIS = 2**14
MOST_TOKENS = 2**20
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def built(cls: type[T], data: Any, place: str = "the card") -> T:
    """Make a dataclass of parsed JSON, lists becoming tuples.

    Raises
    ------
    ValueError
        Naming the field, if one is unknown, missing, or not of the type that the dataclass says.
    """
    if not isinstance(data, dict):
        raise ValueError(f"{place} is no object")
    kinds = get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    if unknown := sorted(set(data) - set(fields)):
        raise ValueError(f"{place} has an unknown field {unknown[0]!r}")
    for name, field in fields.items():
        needed = field.default is field.default_factory is dataclasses.MISSING
        if needed and name not in data:
            raise ValueError(f"{place} lacks {name}")
    return cls(**{name: _value(kinds[name], value, name) for name, value in data.items()})


def _value(kind: Any, value: Any, place: str) -> Any:
    """A JSON value as the annotation wants it; ValueError if it is of another type."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):  # only "... | None" in a card
        return None if value is None else _value(inner[0], value, place)
    if origin is tuple:
        return _tuple(inner, value, place)
    if dataclasses.is_dataclass(kind):
        return built(kind, value, place)  # type: ignore[arg-type]
    if origin is dict:
        if not isinstance(value, dict):
            raise ValueError(f"{place} is no object")
        return value
    if kind is float and type(value) is int:
        value = float(value) if abs(value) < 2**53 else math.inf
    if type(value) is not kind:  # True is no number
        raise ValueError(f"{place} is not {_WORDS[kind]}")
    if kind is float and not math.isfinite(value):
        raise ValueError(f"{place} is not a finite number")
    if kind is str and any("\ud800" <= sign <= "\udfff" for sign in value):
        raise ValueError(f"{place} is a broken text")
    return value


def _tuple(inner: tuple[Any, ...], value: Any, place: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{place} is no list")
    if inner[-1] is not Ellipsis and len(value) != len(inner):
        raise ValueError(f"{place} has {len(value)} items where {len(inner)} belong")
    return tuple(_value(inner[0], item, f"{place}[{n}]") for n, item in enumerate(value))


def check_values(card: ModelCard) -> None:
    """Raise ValueError, naming the field, if a card's values make no sense, whatever the weights are."""
    _check_architecture(card.architecture, "architecture")
    if card.decoder is not None:
        _check_transformer(card.decoder, "decoder")
        if card.decoder.position_table is not None:
            _check_triple(card.decoder.position_table, "decoder.position_table")
    if card.alignment is not None:
        _check_alignment(card.alignment)
        if card.alignment.pooling is not None:
            _check_pooling(card.alignment.pooling, card.architecture, card.alignment.enface)
    if not card.temperature > 0:
        raise ValueError(f"temperature is {card.temperature}, not above 0")
    for label in card.labels:
        if not 0 <= label.threshold <= 1:
            raise ValueError(f"threshold is {label.threshold}, not between 0 and 1")
    for target in card.targets:
        if not target.scale > 0:
            raise ValueError(f"scale is {target.scale}, not above 0")
    for group, rows in (("labels", card.labels), ("targets", card.targets)):
        _check_distinct([row.abbreviation for row in rows], f"abbreviations of {group}")
    if card.exclusive and len(card.labels) < 2:
        raise ValueError("exclusive is true, but there are not two labels")
    if card.slice_head is not None:
        _check_slice_head(card.slice_head)
        if card.architecture.planar or card.kind not in ("classifier", "regression"):
            raise ValueError("slice_head belongs to a model of volumes with labels or targets")
    _check_distinct(card.enface_modalities, "enface_modalities")
    sources = card.notes.get("sources", [])
    if not isinstance(sources, list) or not all(isinstance(text, str) for text in sources):
        raise ValueError("notes.sources is no list of texts")


def _check_architecture(architecture: Architecture, place: str) -> None:
    _check_transformer(architecture, place)
    _check_range(architecture.outputs, 0, MOST_FEATURES, f"{place}.outputs")
    if not 0 <= architecture.head_dropout <= 1:
        raise ValueError(f"{place}.head_dropout is not between 0 and 1")
    for name in ("cube", "grid", "table_grid"):
        _check_triple(getattr(architecture, name), f"{place}.{name}")
    if architecture.planar and (architecture.grid[0], architecture.table_grid[0]) != (1, 1):
        raise ValueError(f"{place}.grid is not that of an image, of one layer")


def _check_slice_head(head: SliceHead) -> None:
    _check_transformer(head, "slice_head")
    _check_range(head.head_dim, 1, MOST_FEATURES, "slice_head.head_dim")


def _check_transformer(part: Architecture | Decoder | SliceHead, place: str) -> None:
    for name in ("embed_dim", "num_heads", "mlp_dim"):
        _check_range(getattr(part, name), 1, MOST_FEATURES, f"{place}.{name}")
    _check_range(part.depth, 1, MOST_BLOCKS, f"{place}.depth")


def _check_alignment(alignment: Alignment) -> None:
    _check_architecture(alignment.enface, "enface")
    if not alignment.enface.planar:
        raise ValueError("enface.planar is false")
    _check_range(len(alignment.modalities), 1, MOST_MODALITIES, "number of modalities")
    _check_distinct(alignment.modalities, "modalities")
    _check_range(alignment.projection, 1, MOST_FEATURES, "projection")
    _check_range(alignment.regression_hidden, 0, MOST_FEATURES, "regression_hidden")


def _check_pooling(pooling: Pooling, volume: Architecture, image: Architecture) -> None:
    _check_range(pooling.channels, 1, MOST_FEATURES, "pooling.channels")
    places = ((volume.grid[0], volume.grid[2]), image.grid[1:])
    for order, *counts in zip(pooling.orders, *places, strict=True):
        # A cosine of a higher order is one of a lower order again, seen at so few places.
        _check_range(order, 1, min(counts), "pooling.orders")


def _check_triple(sizes: tuple[int, int, int], place: str) -> None:
    for size in sizes:
        _check_range(size, 1, MOST_ALONG_AN_AXIS, place)
    if math.prod(sizes) > MOST_TOKENS:
        raise ValueError(f"{place} is {sizes}, more than any model takes")


def _check_range(value: int, low: int, high: int, place: str) -> None:
    if not low <= value <= high:
        shown = value if abs(value) < 10**12 else "a huge number"
        raise ValueError(f"{place} is {shown}, not between {low} and {high}")


def _check_distinct(texts: Iterable[str], what: str) -> None:
    texts = list(texts)
    if not all(texts) or len(set(texts)) < len(texts):
        raise ValueError(f"the {what} are not distinct words")
