"""Supervised training of a model for labels or regression targets, on OCT, on en-face images, or on both."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import nn

from octcube_core.checkpoints.card import ModelCard
from octcube_core.errors import InputError
from octcube_core.models.coep import COEPModel
from octcube_core.models.family import Model, network
from octcube_core.models.heads import label_probabilities, target_values
from octcube_core.models.octcube import OCTCubeClassifier, OCTCubeEncoder
from train.data.augment import Augment
from train.data.augment_pairs import PairAugment
from train.data.module import StoreData
from train.data.store import OCT
from train.engine.card_in_checkpoint import CardInCheckpoint, with_origin
from train.engine.optimiser import Optimisation, configure
from train.tasks.finetuning.inputs import Inputs, modalities_of, model_inputs, model_outputs
from train.tasks.finetuning.labelled_card import labelled_card, with_outputs
from train.tasks.finetuning.lesions import LesionLoss, LesionTargets
from train.tasks.finetuning.lora import Lora, add_adapters, merged
from train.tasks.finetuning.losses import (
    ClassWeights,
    LabelLoss,
    RegressionKind,
    RegressionLoss,
    TrainingLabels,
)
from train.tasks.finetuning.metrics import LabelMetrics, RegressionMetrics
from train.tasks.finetuning.starting import start_enface_from as load_enface
from train.tasks.finetuning.starting import start_from as load_start
from train.tasks.masking import check_share, some_tokens

MOST_NAMED = 32  # labels; with more, only the means of metrics are logged


class FinetuneTask(CardInCheckpoint, L.LightningModule):
    """Cross-entropy of labels or errors of regression targets, plus token-level lesion targets.

    Parameters
    ----------
    card : the model's card. With ``alignment`` it is a model of several modalities, with a planar architecture one of
        images, else one of volumes. Labels or targets may be left out: they are then named as the data's columns
    optimisation : learning rate, its schedule, weight decay, layer decay
    start_from : name or file of a model, of any kind, to start from; None starts from random weights
    start_enface_from : the same for the en-face tower of a model of several modalities
    freeze_encoder : linear probe: train the head alone, on features as they are in use (without dropout in encoders)
    lora : train adapters of the encoders' attention instead of the encoders
    label_smoothing : of the labels
    class_weights : "balanced", or a weight for the presence of each label or for each class
    regression_loss : of standardised targets
    drop_path : stochastic depth: how likely the last block is left out for an exam; rising linearly from the first
    kept_tokens : share of a volume's tokens (an image's, of a model of images), drawn anew for each exam and step,
        that training runs on (PatchDropout: Liu et al., arXiv:2208.07220); validation sees all
    lesions : learn lesion masks beside the labels
    augment : random changes of the training exams; None leaves them as they are
    activation_checkpointing : keep only what passes between the encoders' blocks for the backward pass, and compute
        the rest again: much less memory, a third more time, the same result
    """

    monitor, monitor_mode = "val/auprc", "max"

    def __init__(
        self,
        card: ModelCard,
        optimisation: Optimisation,
        start_from: str | None = None,
        start_enface_from: str | None = None,
        freeze_encoder: bool = False,
        lora: Lora | None = None,
        label_smoothing: float = 0.0,
        class_weights: ClassWeights = None,
        regression_loss: RegressionKind = "l1",
        drop_path: float = 0.0,
        kept_tokens: float = 1.0,
        lesions: LesionTargets | None = None,
        augment: Augment | PairAugment | None = None,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if freeze_encoder and lora is not None:
            raise InputError(
                "freeze_encoder trains the head alone, lora the encoder too: give one."
            )
        if not 0 <= drop_path < 1:
            raise InputError(f"drop_path must be at least 0 and below 1, not {drop_path}.")
        check_share(kept_tokens)
        if isinstance(augment, Augment) and card.architecture.planar:
            raise InputError(
                "train.data.augment.Augment changes volumes; for images give train.data.augment_pairs.PairAugment."
            )
        if kept_tokens < 1 and card.slice_head is not None:
            raise InputError("A slice_head needs every slice's tokens; leave out kept_tokens.")
        self.card, self.order = card, modalities_of(card)
        self.optimisation = optimisation
        self.starts = start_from, start_enface_from
        self.freeze_encoder, self.lora = freeze_encoder, lora
        self.drop_path, self.kept_tokens = drop_path, kept_tokens
        self.label_smoothing, self.class_weights = label_smoothing, class_weights
        self.regression_loss = regression_loss
        self.lesions = lesions
        self.augment = augment
        self.activation_checkpointing = activation_checkpointing
        self.main = len(card.targets)
        if card.outputs:  # else the data says what there is to learn
            card = with_outputs(card)
            self._build(card)
            self._judge_by(card, [1.0] * len(card.targets), None)

    def check(self, data: StoreData) -> None:
        """Complete card, losses and metrics from the data's labels.

        Raises
        ------
        InputError
            If recipe and data contradict each other.
        """
        data.setup("fit")
        if data.labels is None:
            raise InputError("Fine-tuning needs data.labels: what is to be learnt.")
        self._check_inputs(data)
        training = TrainingLabels(data.training.labels.numpy())
        card = labelled_card(self.card, data.labels, list(data.label_table.columns), training)
        if not hasattr(self, "model"):
            self._build(card)
        self.model.card = with_origin(card, data)
        self.order, self.main = tuple(data.modalities), len(data.labels.columns)
        weights = [1.0] * self.main + list(data.labels.auxiliary.values())
        self._judge_by(card, weights, training)

    def _check_inputs(self, data: StoreData) -> None:
        wanted = modalities_of(self.card)
        if self.card.architecture.planar and len(wanted) != 1:
            raise InputError("A model of images needs card.enface_modalities with one, e.g. [FAF].")
        if set(data.modalities) != set(wanted):
            raise InputError(
                f"data.modalities must be what the card's model looks at, {', '.join(wanted)}, not "
                f"{', '.join(data.modalities)}."
            )
        if self.lesions is None:
            return
        if wanted != (OCT,) or data.labels.kind == "regression" or not data.lesions:
            raise InputError(
                "lesions needs a model of OCT alone, labels, and data.lesions: true; leave it out else."
            )
        if tuple(data.volume_shape) != self.card.architecture.input_shape:
            raise InputError(
                f"The store's volumes are {tuple(data.volume_shape)}, but the card's grid and cube make "
                f"{self.card.architecture.input_shape}; to learn lesion masks they must be the same."
            )

    def _build(self, card: ModelCard) -> None:
        model = network(card)
        assert isinstance(model, OCTCubeClassifier | COEPModel)
        for name, load in zip(self.starts, (load_start, load_enface), strict=True):
            if name is not None:
                load(model, name)
        encoders = [module for module in model.modules() if isinstance(module, OCTCubeEncoder)]
        for encoder in encoders:
            encoder.checkpointing = self.activation_checkpointing
            encoder.set_drop_path(self.drop_path)
            if self.lora is not None:
                add_adapters(encoder, self.lora)
        if isinstance(model, COEPModel):
            model.log_scales.requires_grad_(False)  # of similarities, which are not learnt here
        else:
            # The classifier has the encoder's final norm but, like the released one, does not apply it.
            model.encoder.norm.requires_grad_(False)
        self.probed = _below_the_head(model) if self.freeze_encoder else []
        for part in self.probed:
            part.requires_grad_(False)
        self.model = model
        # Trained beside the classifier and then left behind: the exported model is encoder and head alone.
        self.lesion_loss = None if self.lesions is None else LesionLoss(card, self.lesions)

    def _judge_by(
        self, card: ModelCard, weights: list[float], training: TrainingLabels | None
    ) -> None:
        """Losses and metrics for the labels of a card."""
        if card.labels:
            self.loss: LabelLoss | RegressionLoss = LabelLoss(
                len(card.labels), card.exclusive, self.label_smoothing, self.class_weights, training
            )
            self.metrics: LabelMetrics | RegressionMetrics = LabelMetrics(card.exclusive)
            return
        means, scales = zip(*((each.mean, each.scale) for each in card.targets), strict=True)
        self.loss = RegressionLoss(self.regression_loss, means, scales, weights, training)
        self.metrics = RegressionMetrics()

    def train(self, mode: bool = True) -> FinetuneTask:
        """As of every module; what a linear probe leaves as it is stays in eval mode."""
        super().train(mode)
        for part in getattr(self, "probed", ()):
            part.eval()
        return self

    def training_step(self, batch: dict[str, Any], _: int) -> torch.Tensor:
        """Loss of one batch."""
        inputs, lesions = self._changed(model_inputs(self.model.card, batch), batch.get("lesions"))
        keep = self._kept(inputs)
        if self.lesion_loss is None:
            outputs = model_outputs(self.model, inputs, batch["present"], self.order, keep)
            loss = self.loss(outputs, batch["labels"])
            self.log("train/loss", loss.detach(), prog_bar=True)
            return loss
        assert isinstance(self.model, OCTCubeClassifier)
        volume = inputs[OCT]
        tokens = self.model.encoder(volume, keep)
        outputs = self.model.of_tokens(tokens, self.model.encoder.grid(volume)[0])
        loss, lesion_loss = (
            self.loss(outputs, batch["labels"]),
            self.lesion_loss(tokens[:, 1:], lesions, keep),
        )
        self.log("train/loss", loss.detach(), prog_bar=True)
        self.log("train/lesion_loss", lesion_loss.detach(), prog_bar=True)
        return loss + self.lesion_loss.weight * lesion_loss

    def _kept(self, inputs: Inputs) -> torch.Tensor | None:
        """The tokens that this step runs on, None for all."""
        name = OCT if OCT in inputs else next(iter(inputs))
        model, pixels = self.model, inputs[name]
        encoder = model.oct_tower.encoder if isinstance(model, COEPModel) else model.encoder
        return some_tokens(encoder, pixels, self.kept_tokens)

    def _changed(
        self, inputs: Inputs, lesions: torch.Tensor | None
    ) -> tuple[Inputs, torch.Tensor | None]:
        """Inputs and lesion bits, changed at random alike."""
        if isinstance(self.augment, PairAugment):
            images = {name: value for name, value in inputs.items() if name != OCT}
            any_image = next(iter(inputs.values()))
            volume = inputs.get(OCT, any_image.new_zeros(len(any_image), 1, 1, 1, 1))
            volume, images = self.augment(volume, images)
            return ({OCT: volume} if OCT in inputs else {}) | images, lesions
        if self.augment is not None and OCT in inputs:
            volume, lesions = self.augment(inputs[OCT].squeeze(1), lesions)
            return inputs | {OCT: volume.unsqueeze(1)}, lesions
        return inputs, lesions

    def validation_step(self, batch: dict[str, Any], _: int) -> None:
        """Collect predictions for the epoch's metrics."""
        card = self.model.card
        inputs = model_inputs(card, batch)
        outputs = model_outputs(self.model, inputs, batch["present"], self.order)
        # What only fills up a batch is unknown to the loss, and no part of the metrics.
        valid, labels = batch["valid"], batch["labels"]
        loss = self.loss(outputs, labels.masked_fill(~valid[:, None], torch.nan))
        self.log("val/loss", loss, prog_bar=True, sync_dist=True, batch_size=len(labels))
        said = label_probabilities(outputs, card) if card.labels else target_values(outputs, card)
        self.metrics.update(said[valid], labels[valid])

    def on_validation_epoch_end(self) -> None:
        """Log each metric's mean, over the labels that it can be computed for, and the metrics of each label."""
        card = self.model.card
        names = [each.abbreviation.replace("/", "+") for each in card.labels or card.targets]
        mean_of = self.main if card.targets else len(names)
        for metric, found in self.metrics.compute().items():
            values = found.reshape(-1)  # torchmetrics makes a scalar of one
            self.log(f"val/{metric}", values[:mean_of].nanmean(), prog_bar=True)
            if 1 < len(names) <= MOST_NAMED:
                for name, value in zip(names, values, strict=True):
                    self.log(f"val/{metric}/{name}", value)
        self.metrics.reset()

    def configure_optimizers(self) -> Any:
        """AdamW with its schedule."""
        return configure(self, self.optimisation)

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None
    ) -> None:
        """Step, then free the gradients: Lightning would keep them through the next forward pass."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        optimizer.zero_grad()

    def exported(self) -> Model:
        """The model as the viewer loads it."""
        return merged(self.model, self.lora)


def _below_the_head(model: OCTCubeClassifier | COEPModel) -> list[nn.Module]:
    if isinstance(model, COEPModel):
        return [model.oct_tower, model.enface_tower]
    return [model.encoder]
