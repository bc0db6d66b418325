"""Contrastive alignment of OCT volumes and en-face images of the same eyes (COEP)."""

from __future__ import annotations

import math
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import nn

from octcube_core.checkpoints.card import ModelCard
from octcube_core.errors import InputError
from octcube_core.models.coep import COEPModel
from train.data.augment_pairs import PairAugment
from train.data.store import OCT
from train.data.to_device import images_to_input, volumes_to_input
from train.engine.card_in_checkpoint import CardInCheckpoint, with_origin
from train.engine.distributed import gather
from train.engine.optimiser import Optimisation, configure, encoder_layers
from train.evaluation.metrics import laterality_accuracy, retrieval_metrics
from train.tasks.cached_features import (
    Batch,
    CachedFeatures,
    RandomState,
    joint_gradients,
    micro_batches,
)
from train.tasks.coep_checks import check_recipe, check_sides
from train.tasks.contrastive import MOST_SCALE, Agreement, Contrast, agreement
from train.tasks.encoder_start import freeze, start_from
from train.tasks.masking import check_share, some_tokens
from train.tasks.pooling_start import Inputs, measure_poolings


class COEPTask(CardInCheckpoint, L.LightningModule):
    """A contrastive loss over the batches of all processes, computed a micro-batch at a time.

    A batch of the data is a process's whole share of the loss: for the paper's 32 volumes x 4 accumulations x 4 GPUs
    ``data.batch_size`` is 128 and ``micro_batch`` 32. The result is that of one batch of 512.

    Parameters
    ----------
    card : the model's card, with the architectures of both towers and the en-face modalities
    optimisation : learning rate, schedule and so on; the layer decay is for the OCT tower alone
    start_from_oct, start_from_enface : names or files of models whose encoders the towers start from, their position
        tables brought to this card's grids. None starts from random weights; the projections always do
    frozen_blocks, frozen_enface_blocks : first blocks of the OCT tower, and of the en-face tower, that stay as they
        are, and the embedding before them
    contrast : the loss
    micro_batch : exams that pass through the model at once; by default the whole batch
    local_loss : each process compares its own exams with all; else each compares all with all, to the same effect
    kept_tokens : share of a volume's tokens, drawn anew each time, that the OCT tower sees in training (Li et al.,
        arXiv:2212.00794): so much less work per exam, at some cost in what it learns from each
    augment : random changes of the training exams; None leaves them as they are
    activation_checkpointing : keep only what passes between the encoders' blocks for the backward pass
    """

    monitor, monitor_mode = "val/r1", "max"

    def __init__(
        self,
        card: ModelCard,
        optimisation: Optimisation,
        start_from_oct: str | None = None,
        start_from_enface: str | None = None,
        frozen_blocks: int = 0,
        frozen_enface_blocks: int = 0,
        contrast: Contrast = Contrast(),  # noqa: B008 - frozen
        micro_batch: int | None = None,
        local_loss: bool = True,
        kept_tokens: float = 1.0,
        augment: PairAugment | None = None,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        check_recipe(card, frozen_blocks, frozen_enface_blocks, micro_batch)
        check_share(kept_tokens)
        check_sides(contrast, augment)
        self.model = COEPModel(card)
        self.modalities = (OCT, *self.model.modalities)
        self.optimisation = optimisation
        self.contrast = contrast
        self.micro_batch = micro_batch
        self.local_loss = local_loss
        self.kept_tokens = kept_tokens
        self.augment = augment
        towers = self.model.oct_tower.encoder, self.model.enface_tower.encoder
        for tower, start in zip(towers, (start_from_oct, start_from_enface), strict=True):
            if start is not None:
                start_from(tower, start)
        for tower, frozen in zip(towers, (frozen_blocks, frozen_enface_blocks), strict=True):
            tower.checkpointing = activation_checkpointing
            freeze(tower, frozen)
        with torch.no_grad():
            for log_scale in self.model.log_scales:
                log_scale.fill_(math.log(contrast.first_scale))
        # Left behind after training: similarities are ranked, and a summand changes no order.
        self.biases = nn.ParameterList(
            nn.Parameter(
                torch.tensor(contrast.first_bias), requires_grad=contrast.objective == "siglip"
            )
            for _ in self.model.pairs
        )
        self._found: list[tuple[torch.Tensor, ...]] = []

    def check(self, data: Any) -> None:
        """Refuse what would only fail, or silently go wrong, once training runs."""
        if list(data.modalities) != list(self.modalities):
            raise InputError(
                f"data.modalities must be those of the card in their order: {', '.join(self.modalities)}."
            )
        pairs = data.training.present.sum(dim=1) >= 2
        if int(pairs.sum()) < 2 or not bool((data.validation.present.sum(dim=1) >= 2).any()):
            raise InputError(
                f"{data.store} has no exams with two of {', '.join(self.modalities)} to train and validate on."
            )
        self.model.card = with_origin(self.model.card, data)

    def setup(self, stage: str) -> None:
        """Refuse trainers whose gradients would not be those of the joint loss."""
        trainer = self.trainer
        if trainer.accumulate_grad_batches != 1:
            raise InputError(
                "trainer.accumulate_grad_batches would cut the loss in pieces; set data.batch_size to a process's "
                "whole share and model.micro_batch to what fits at once."
            )
        if trainer.scaler is not None:
            raise InputError(
                "COEP trains in bf16-mixed or 32-true, not in fp16; set trainer.precision."
            )
        if not isinstance(trainer.strategy, (DDPStrategy, SingleDeviceStrategy)):
            raise InputError("COEP trains on one device or with DDP; set trainer.strategy to ddp.")

    def exported(self) -> COEPModel:
        """The model to save."""
        return self.model

    def embed(self, batch: Batch) -> torch.Tensor:
        """Features of length 1, float32, shape (exams, modalities, projection); 0 where a modality is missing."""
        given, features = self._inputs(batch), []
        for name, present in zip(self.modalities, batch["present"].T, strict=True):
            # Without any, one stands in: its gradient is zero, but every process uses every parameter.
            rows = (
                present.nonzero()[:, 0]
                if bool(present.any())
                else torch.zeros_like(batch["row"][:1])
            )
            value = given[name][rows]
            if name == OCT:
                embedded = self.model.embed_volume(value, self._keep(name, value))
            else:
                embedded = self.model.embed_enface(value, name)
            empty = embedded.new_zeros(len(present), embedded.shape[1])
            features.append(empty.index_copy(0, rows, embedded))
        return torch.stack(features, dim=1)

    def _inputs(self, batch: Batch) -> dict[str, torch.Tensor]:
        """What the model sees of each modality, in training with random changes."""
        shape, enface = self.model.card.architecture, self.model.enface_tower.encoder.architecture
        volume = volumes_to_input(batch["volume"], shape.input_shape)
        images = {
            name: images_to_input(image, enface.input_shape[1:])
            for name, image in batch["images"].items()
        }
        if self.training and self.augment is not None:
            volume, images = self.augment(volume, images)
        return {OCT: volume, **images}

    def _measure_poolings(self, parts: list[Batch]) -> None:
        """Before the first step; what is drawn at random is drawn again for the step."""
        before = RandomState(parts[0]["row"].device)
        measure_poolings(self.model, (self._those_there(part) for part in parts))
        before.restore()

    def _those_there(self, batch: Batch) -> Inputs:
        """What a batch has of each modality, with the tokens to keep."""
        given = self._inputs(batch)
        there = {
            name: given[name][present]
            for name, present in zip(self.modalities, batch["present"].T, strict=True)
        }
        return {name: (value, self._keep(name, value)) for name, value in there.items()}

    def _keep(self, name: str, volume: torch.Tensor) -> torch.Tensor | None:
        if name != OCT:
            return None
        share = self.kept_tokens if self.training else 1.0
        return some_tokens(self.model.oct_tower.encoder, volume, share)

    def training_step(self, batch: Batch, _: int) -> torch.Tensor:
        """Loss over the batches of all processes.

        Its graph is that of one micro-batch, whose backward pass, with its exchange of gradients, is Lightning's; the
        backward passes of the others are done here, where DDP's exchange sleeps.
        """
        parts = micro_batches(batch, self.micro_batch)
        if self.global_step == 0 and self.model.card.alignment.pooling is not None:
            self._measure_poolings(parts)
        cached = CachedFeatures(self.embed, parts)
        trained = [*self.model.log_scales, *(bias for bias in self.biases if bias.requires_grad)]
        joint = joint_gradients(
            cached.features,
            batch["present"],
            torch.stack([batch["patient"], batch["side"]], dim=1),
            self._compare,
            trained,
            self.local_loss,
        )
        surrogate = cached.surrogate(joint.features)
        for parameter, gradient in zip(trained, joint.parameters, strict=True):
            surrogate = surrogate + parameter * gradient
        self._log(joint.agreement)
        return surrogate + (joint.agreement.loss - surrogate).detach()

    def _compare(
        self, features: torch.Tensor, present: torch.Tensor, whose: torch.Tensor, rows: slice
    ) -> Agreement:
        patient, side = whose.T
        return agreement(
            features,
            present,
            patient,
            list(self.model.log_scales),
            list(self.biases),
            self.contrast,
            rows,
            side,
        )

    def _log(self, found: Agreement) -> None:
        self.log("train/loss", found.loss, prog_bar=True)
        for pair, scale, hits, tries in zip(
            self.model.pairs, self.model.logit_scales.detach(), found.hits, found.tries, strict=True
        ):
            self.log(f"train/temperature/{'-'.join(pair)}", 1 / scale)
            if tries > 0:
                self.log(f"train/accuracy/{'-'.join(pair)}", hits / tries, prog_bar=True)

    def validation_step(self, batch: Batch, _: int) -> None:
        """Collect the features of the whole validation split."""
        features = torch.cat([self.embed(part) for part in micro_batches(batch, self.micro_batch)])
        self._found.append((features, batch["present"], batch["row"], batch["valid"]))

    def on_validation_epoch_end(self) -> None:
        """Log retrieval of every pair of modalities, and ``val/r1``, the mean of its R@1 both ways."""
        parts = [gather(torch.cat(part)) for part in zip(*self._found, strict=True)]
        self._found.clear()
        features, present, row = (part[parts[-1]].cpu() for part in parts[:-1])
        sides = self.trainer.datamodule.opened.manifest["laterality"].to_numpy()[row.numpy()]
        recalls = []
        for one, other in self.model.pairs:
            places = [self.modalities.index(name) for name in (one, other)]
            both = present[:, places].all(dim=1)
            if not both.any():
                continue
            first, second = (features[both, place] for place in places)
            similarity = (first @ second.T).numpy()
            figures = retrieval_metrics(similarity)
            recalls.append(figures["mean_recall@1"])
            figures |= laterality_accuracy(similarity, list(sides[both.numpy()]), ks=(1,))
            for name, value in figures.items():
                if not math.isnan(value):
                    self.log(f"val/{one}-{other}/{name}", value)
        self.log("val/r1", float(np.mean(recalls)), prog_bar=True)

    def configure_optimizers(self) -> Any:
        """AdamW; the learning rate decays from block to block of the OCT tower only."""
        names = (name for name, weight in self.named_parameters() if weight.requires_grad)
        layers = encoder_layers(name for name in names if name.startswith("model.oct_tower."))
        return configure(self, self.optimisation, layers)

    def optimizer_zero_grad(self, *_: Any) -> None:
        """Nothing here: Lightning asks for it after ``training_step``, which leaves gradients behind."""

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None
    ) -> None:
        """Step, keep the temperatures from 0.01 on, and free the gradients."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        optimizer.zero_grad()
        with torch.no_grad():
            for log_scale in self.model.log_scales:
                log_scale.clamp_(max=math.log(MOST_SCALE))
