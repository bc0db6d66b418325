"""From a model card to the network that it describes."""

from __future__ import annotations

from octcube_core.checkpoints.card import ModelCard
from octcube_core.models.coep import COEPModel
from octcube_core.models.mae import MaskedAutoencoder
from octcube_core.models.octcube import FeatureEncoder, OCTCubeClassifier

Model = OCTCubeClassifier | FeatureEncoder | MaskedAutoencoder | COEPModel

_CLASSES: dict[str, type[Model]] = {
    "classifier": OCTCubeClassifier,
    "regression": OCTCubeClassifier,
    "encoder": FeatureEncoder,
    "enface": FeatureEncoder,
    "mae": MaskedAutoencoder,
    "coep": COEPModel,
}


def network(card: ModelCard) -> Model:
    """The card's network, freshly initialised."""
    return _CLASSES[card.kind](card)
