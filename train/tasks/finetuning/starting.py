"""Where a fine-tuning starts: the encoders of another model, and what else of it fits."""

from __future__ import annotations

from octcube_core.checkpoints import load_model
from octcube_core.checkpoints.card import ModelCard
from octcube_core.errors import InputError
from octcube_core.models.coep import COEPModel
from octcube_core.models.octcube import OCTCubeClassifier
from train.tasks.encoder_start import copy_encoder
from train.tasks.encoder_start import start_from as start_encoder_from


def start_from(model: COEPModel | OCTCubeClassifier, name_or_path: str) -> None:
    """Copy into a model what another one, of any kind, has for it.

    That is the encoder, its position tables brought to the model's grid, with the head if both have the same task;
    into an aligned model, the OCT encoder, or all but the head on the embeddings if the other one is aligned too.

    Raises
    ------
    InputError
        If the other one's architecture differs.
    """
    source = load_model(name_or_path, device="cpu", precision="fp32")
    if isinstance(model, OCTCubeClassifier):
        copy_encoder(model.encoder, source, name_or_path)
        if isinstance(source, OCTCubeClassifier) and _task(source.card) == _task(model.card):
            model.head.load_state_dict(source.head.state_dict())
        return
    copy_encoder(model.oct_tower.encoder, source, name_or_path)
    if isinstance(source, COEPModel):
        copy_encoder(model.enface_tower.encoder, source, name_or_path)
        _copy_projections(source, model, name_or_path)


def start_enface_from(model: COEPModel | OCTCubeClassifier, name_or_path: str) -> None:
    """Copy the image encoder of another model, e.g. RETFound's, into an aligned model's en-face tower."""
    if not isinstance(model, COEPModel):
        raise InputError("start_enface_from is for models of several modalities; use start_from.")
    start_encoder_from(model.enface_tower.encoder, name_or_path)


def _copy_projections(source: COEPModel, model: COEPModel, name: str) -> None:
    state = {
        key: tensor
        for key, tensor in source.state_dict().items()
        if ".encoder." not in key and not key.startswith("regression.")
    }
    mine = model.state_dict()
    if any(key not in mine or mine[key].shape != tensor.shape for key, tensor in state.items()) or (
        source.modalities != model.modalities
    ):
        raise InputError(
            f"The modalities or the projection of {name} are not those of this recipe's card."
        )
    model.load_state_dict(state, strict=False)


def _task(card: ModelCard) -> tuple[object, ...]:
    """What two models must share for the head of one to be the head of the other."""
    layers = card.architecture.grid[0] if card.slice_head is not None else 0
    names = [each.name for each in (*card.labels, *card.targets)]
    return names, len(card.labels), card.exclusive, card.slice_head, layers
