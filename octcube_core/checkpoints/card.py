"""The model card: everything about a model that is not a weight. Kept as JSON in the checkpoint. No torch."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from octcube_core.errors import CheckpointError

CARD_FORMAT = 1
# Name in cards and on the command line -> name in the literature.
SALIENCY_METHODS = {"gradcam++": "Grad-CAM++", "hirescam": "HiResCAM"}


@dataclass(frozen=True)
class Label:
    """A disease that the model scores."""

    name: str
    abbreviation: str
    icd10: tuple[str, ...] = ()
    threshold: float = 0.5


@dataclass(frozen=True)
class Architecture:
    """Dimensions of a 3D encoder with its head.

    ``grid`` is the token grid (z, y, x) that the position tables were trained on. ``final_residual`` is False for
    the released OCTCube weights, whose last block's output leaves out the residual stream.
    """

    embed_dim: int
    depth: int
    num_heads: int
    cube: tuple[int, int, int]
    grid: tuple[int, int, int]
    mlp_dim: int
    outputs: int
    final_residual: bool
    head_dropout: float = 0.5

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(frames, height, width) of the input that fits the position tables."""
        z, y, x = (g * c for g, c in zip(self.grid, self.cube, strict=True))
        return z, y, x


@dataclass(frozen=True)
class ModelCard:
    """Facts about a model, shown to users and stored with the weights.

    ``temperature`` divides the logits before the softmax (calibration; 1 leaves them as they are). ``saliency`` is
    the method that explains this model unless another is asked for: the one measured to point best, or the
    convention, Grad-CAM++.
    """

    name: str
    version: str
    architecture: Architecture
    labels: tuple[Label, ...]
    temperature: float = 1.0
    saliency: str = "gradcam++"
    trained_on: str = "unknown"
    intended_use: str = "Research use only; not for diagnosis."
    licence: str = "unknown"
    synthetic: bool = False
    notes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.saliency not in SALIENCY_METHODS:
            known = ", ".join(SALIENCY_METHODS)
            raise CheckpointError(f"Unknown saliency method {self.saliency!r}; known are {known}.")

    @property
    def title(self) -> str:
        """Name, version and, for a model of synthetic eyes, that word."""
        return f"{self.name} {self.version}" + (" (synthetic)" if self.synthetic else "")

    def to_json(self) -> str:
        """JSON text with a format number."""
        return json.dumps({"format": CARD_FORMAT, **asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> ModelCard:
        """Read ``to_json``'s text; raise CheckpointError if it is not a card of a known format."""
        try:
            data = json.loads(text)
            if data.pop("format") != CARD_FORMAT:
                raise CheckpointError(
                    "The model card was written by a newer version; please update napari-octcube."
                )
            architecture = data.pop("architecture")
            for key in ("cube", "grid"):
                architecture[key] = tuple(architecture[key])
            labels = tuple(
                Label(**{**label, "icd10": tuple(label["icd10"])}) for label in data.pop("labels")
            )
            return cls(architecture=Architecture(**architecture), labels=labels, **data)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"The model card in this file is damaged ({error}).") from error
