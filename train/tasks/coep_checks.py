"""Recipes of an alignment that cannot work, refused before anything is loaded."""

from __future__ import annotations

from octcube_core.checkpoints.card import ModelCard
from octcube_core.errors import InputError
from train.data.augment_pairs import PairAugment
from train.tasks.contrastive import Contrast


def check_recipe(
    card: ModelCard, frozen_blocks: int, frozen_enface_blocks: int, micro_batch: int | None
) -> None:
    """Raise InputError if the card is not that of an aligned model, or a number is out of its range."""
    if card.alignment is None:
        raise InputError("The card of a COEP model needs an alignment.")
    if card.alignment.regression_hidden or card.labels or card.targets:
        raise InputError(
            "COEP trains no head; leave labels, targets and regression_hidden to fine-tuning."
        )
    for name, frozen, depth in (
        ("frozen_blocks", frozen_blocks, card.architecture.depth),
        ("frozen_enface_blocks", frozen_enface_blocks, card.alignment.enface.depth),
    ):
        if not 0 <= frozen <= depth:
            raise InputError(f"{name} must be between 0 and {depth}, not {frozen}.")
    if micro_batch is not None and micro_batch < 1:
        raise InputError(f"micro_batch must be at least 1, not {micro_batch}.")


def check_sides(contrast: Contrast, augment: PairAugment | None) -> None:
    """Raise InputError if ``same_side`` is out of its range, or goes with nothing else of the recipe."""
    if not 0 <= contrast.same_side < 1:
        raise InputError(
            f"contrast.same_side must be at least 0 and below 1, not {contrast.same_side}."
        )
    if contrast.same_side and contrast.objective != "infonce":
        raise InputError("contrast.same_side is for the objective infonce; leave it out.")
    if contrast.same_side and augment is not None and augment.mirror:
        raise InputError(
            "A mirrored right eye looks like a left one: with contrast.same_side set the augment's mirror to false."
        )
