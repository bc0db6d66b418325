"""The model card: everything about a model that is not a weight. Kept as JSON in the checkpoint. No torch."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any

from octcube_core.checkpoints.card_check import built, check_values
from octcube_core.errors import CheckpointError

Triple = tuple[int, int, int]  # as in token_grid, which needs numpy

CARD_FORMAT = 1
CARD_KEY = "octcube_card"  # in the metadata of a checkpoint
# Name in cards and on the command line -> name in the literature.
SALIENCY_METHODS = {
    "gradcam++": "Grad-CAM++",
    "gradcam": "Grad-CAM",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
    "xgradcam": "XGrad-CAM",
    "eigencam": "EigenCAM",
}
# The norms of the last block: before its attention (the convention) and after it (cheaper).
SALIENCY_LAYERS = ("norm1", "norm2")
# Which volumes are cropped to their tissue and clipped (`octcube_core.cross_device`).
CROSS_DEVICE_RULES = {
    "off": "none",
    "auto": "those of other devices than Heidelberg's",
    "on": "all",
}
# Codes of ICD-10(-CM): chapter VII (the eye), and diabetes with ophthalmic complications.
_OF_THE_EYE = re.compile(r"H[0-5]\d|E(?:08|09|10|11|13)\.3")


@dataclass(frozen=True)
class Label:
    """A disease that the model scores."""

    name: str
    abbreviation: str
    icd10: tuple[str, ...] = ()
    threshold: float = 0.5


@dataclass(frozen=True)
class Target:
    """A quantity that the model predicts by regression; an empty unit is an unknown one.

    ``mean`` and ``scale`` bring the network's output into the unit: value = mean + scale * output.
    """

    name: str
    abbreviation: str
    unit: str = ""
    mean: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Architecture:
    """Dimensions of a vision transformer over the cubes of a volume, or over the patches of an en-face image.

    ``grid`` is the token grid (z, y, x) of the input, ``position_table`` that of the stored position tables, where
    they differ (they are interpolated). ``final_residual`` is False for the released OCTCube weights, whose last
    block's output leaves out the residual stream. ``planar`` says that the input is an image: its three colour
    channels are the slices of the one layer of cubes, and there are no positions along z.
    """

    embed_dim: int
    depth: int
    num_heads: int
    cube: Triple
    grid: Triple
    mlp_dim: int
    final_residual: bool
    outputs: int = 0
    head_dropout: float = 0.5
    position_table: Triple | None = None
    planar: bool = False

    @property
    def input_shape(self) -> Triple:
        """(frames, height, width) of the input; for an image, its channels are the frames."""
        z, y, x = (g * c for g, c in zip(self.grid, self.cube, strict=True))
        return z, y, x

    @property
    def table_grid(self) -> Triple:
        """Token grid of the stored position tables."""
        return self.position_table or self.grid


@dataclass(frozen=True)
class Decoder:
    """Dimensions of a masked autoencoder's decoder.

    ``high_res_embedding`` says that the weights hold a second cube embedding, for single slices of high resolution.
    ``position_table`` is the token grid of the decoder's position tables, where it is not that of the encoder's.
    """

    embed_dim: int
    depth: int
    num_heads: int
    mlp_dim: int
    final_residual: bool
    high_res_embedding: bool = False
    position_table: Triple | None = None


@dataclass(frozen=True)
class SliceHead:
    """Dimensions of a head that is a small transformer over one feature vector per layer of cubes, after SLIViT.

    ``head_dim`` is the width of one attention head, as ``embed_dim`` need not be a multiple of their number.
    """

    embed_dim: int = 256
    depth: int = 5
    num_heads: int = 20
    head_dim: int = 64
    mlp_dim: int = 512


@dataclass(frozen=True)
class Pooling:
    """Pooling by cosines (``octcube_core.models.cosine_pooling``) in the place of the mean over tokens.

    ``orders`` is how many cosines along each axis of the fundus, (z, x) of a volume and (y, x) of an image, and
    ``channels`` how many linear features of the tokens are pooled with each.
    """

    orders: tuple[int, int]
    channels: int


@dataclass(frozen=True)
class Alignment:
    """The part of a COEP model beside its OCT tower: the en-face tower and the space they share.

    ``modalities`` are those of the en-face images. With more than one, the tower ends in a head for each.
    ``regression_hidden`` is the width of the hidden layer of the head on all embeddings, which gives the card's labels
    and targets; 0 without one. ``pooling`` is how the tokens of both towers are pooled; by their mean if None.
    """

    enface: Architecture
    modalities: tuple[str, ...]
    projection: int
    regression_hidden: int = 0
    pooling: Pooling | None = None


@dataclass(frozen=True)
class ReportedFigure:
    """A figure that a model's authors published; nothing here has verified it."""

    task: str
    metric: str
    value: str
    source: str


@dataclass(frozen=True)
class ModelCard:
    """Facts about a model, shown to users and stored with the weights.

    ``temperature`` divides the logits before the softmax (calibration; 1 leaves them as they are). ``saliency`` and
    ``saliency_layer`` are the method and the norm that explain this model unless others are asked for: those
    measured to point best, or the convention. ``exclusive`` says that the labels are classes of which an exam has
    one (one logit each), not diseases that may occur together (a pair of logits each). ``slice_head`` stands in the
    place of mean pooling and a linear layer. ``enface_modalities`` are what a model of images was trained on, of which
    it is given the first that an exam has; empty if unknown. ``cross_device`` says which volumes it was trained on were
    cropped in depth and clipped, a key of ``CROSS_DEVICE_RULES``; exams are prepared alike.
    """

    name: str
    version: str
    architecture: Architecture
    labels: tuple[Label, ...] = ()
    decoder: Decoder | None = None
    alignment: Alignment | None = None
    targets: tuple[Target, ...] = ()
    temperature: float = 1.0
    saliency: str = "gradcam++"
    saliency_layer: str = "norm2"
    trained_on: str = "unknown"
    intended_use: str = "Research use only; not for diagnosis."
    licence: str = "unknown"
    synthetic: bool = False
    reported: tuple[ReportedFigure, ...] = ()
    notes: dict[str, Any] = field(default_factory=dict)
    exclusive: bool = False
    slice_head: SliceHead | None = None
    enface_modalities: tuple[str, ...] = ()
    cross_device: str = "off"

    def __post_init__(self) -> None:
        for value, known, what in (
            (self.saliency, SALIENCY_METHODS, "saliency method"),
            (self.saliency_layer, SALIENCY_LAYERS, "saliency layer"),
            (self.cross_device, CROSS_DEVICE_RULES, "preparation of other devices"),
        ):
            if value not in known:
                raise CheckpointError(f"Unknown {what} {value!r}; known are {', '.join(known)}.")

    @property
    def kind(self) -> str:
        """What the weights are.

        'mae', 'coep', 'classifier' (one encoder and a head for labels, or for labels and targets), 'regression' (for
        targets alone), 'enface' (an image encoder) or 'encoder'.
        """
        if self.decoder is not None:
            return "mae"
        if self.alignment is not None:
            return "coep"
        if self.labels:
            return "classifier"
        if self.targets:
            return "regression"
        return "enface" if self.architecture.planar else "encoder"

    @property
    def logits(self) -> int:
        """How many of a head's outputs are about labels; they come before those of the targets."""
        return len(self.labels) * (1 if self.exclusive else 2)

    @property
    def reports_normal(self) -> bool:
        """Whether the absence of all labels together says "normal eye", as of the released classifier.

        So it is if the labels are several diseases of the eye by their ICD-10 codes, which may occur together: of a
        model of systemic diseases, of a single disease or of classes it would say nothing of the kind.
        """
        several = len(self.labels) > 1 and not self.exclusive
        return several and all(
            label.icd10 and all(_OF_THE_EYE.match(code) for code in label.icd10)
            for label in self.labels
        )

    @property
    def outputs(self) -> int:
        """How many outputs a head for the labels and targets has."""
        return self.logits + len(self.targets)

    @property
    def transformers(self) -> list[Architecture | Decoder]:
        """Every transformer of the model: encoder, then decoder and en-face tower where it has them."""
        enface = self.alignment.enface if self.alignment is not None else None
        return [part for part in (self.architecture, self.decoder, enface) if part is not None]

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
            card = built(cls, data)
            check_values(card)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointError(f"The model card in this file is damaged ({error}).") from error
        return card
