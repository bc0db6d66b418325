"""The model card inside a training checkpoint, so that ``python -m train export`` needs nothing but that file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octcube_core.checkpoints.card import CARD_KEY

if TYPE_CHECKING:
    from octcube_core.checkpoints.card import ModelCard

PREFIX_KEY = "octcube_prefix"
ADAPTERS_KEY = "octcube_adapter_scale"


def with_origin(card: ModelCard, data: Any) -> ModelCard:
    """The card saying how the volumes of the store were prepared, and how many exams a model is trained on.

    The latter only if it says nothing of that already.
    """
    card = replace(card, cross_device=data.cross_device)
    if card.trained_on != "unknown":
        return card
    seen = f"{len(data.training)} exams ({', '.join(data.modalities)}) of {Path(data.store).name}"
    return replace(card, trained_on=seen)


class CardInCheckpoint:
    """Mixin, before LightningModule, for a task whose core model with its ``card`` is an attribute.

    Attributes
    ----------
    core : str
        Name of the attribute.
    lora : object or None
        Low-rank adapters in the core model, with the ``scale`` of what they add.
    """

    core = "model"
    lora: Any = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the card, and before which of the checkpoint's names the core model's stand."""
        super().on_save_checkpoint(checkpoint)  # type: ignore[misc]
        card: ModelCard = getattr(self, self.core).card
        checkpoint[CARD_KEY] = card.to_json()
        checkpoint[PREFIX_KEY] = f"{self.core}."
        if self.lora is not None:
            checkpoint[ADAPTERS_KEY] = self.lora.scale
