"""Supervised training of a disease classifier, with lesion masks as an auxiliary target where there are some."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import nn
from torchmetrics.classification import MultilabelAUROC, MultilabelAveragePrecision

from octcube_core.checkpoints import load_model
from octcube_core.checkpoints.card import ModelCard
from octcube_core.checkpoints.encoders import volume_encoder
from octcube_core.errors import InputError
from octcube_core.models.embeddings import split_cubes
from octcube_core.models.heads import disease_probabilities
from octcube_core.models.octcube import OCTCubeClassifier
from train.data.augment import Augment


class FinetuneTask(L.LightningModule):
    """Cross-entropy of each disease's pair of logits, plus token-level lesion targets.

    Parameters
    ----------
    card : the model's card, with its architecture and labels
    start_from : name or file of a model whose encoder to start from (of any kind, its position tables are brought to
        this card's grid); None starts from random weights
    lr : peak learning rate of AdamW
    weight_decay : on matrices only, not on gains, biases, tokens and positions
    warmup_share : share of the steps over which the rate rises, before a cosine fall to zero
    label_smoothing : of the image-level targets
    lesion_weight : weight of the token-level loss; 0 trains from image labels alone
    lesion_gain : for each disease, how much more a token in a lesion counts than one outside; the rarer its
        tokens, the more, or the loss is all background
    lesion_share : share of a cube's voxels in a lesion at which its token counts as wholly diseased
    augment : random changes of the training volumes; None leaves them as they are
    activation_checkpointing : keep only what passes between the encoder's blocks for the backward pass, and compute
        the rest again: much less memory, a third more time, the same result
    """

    def __init__(
        self,
        card: ModelCard,
        start_from: str | None = None,
        lr: float = 1e-3,
        weight_decay: float = 0.05,
        warmup_share: float = 0.05,
        label_smoothing: float = 0.0,
        lesion_weight: float = 0.0,
        lesion_gain: Sequence[float] = (1.0,),
        lesion_share: float = 0.02,
        augment: Augment | None = None,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        _check_recipe(card, lesion_gain)
        self.save_hyperparameters(ignore=["card", "augment"])
        self.model = OCTCubeClassifier(card)
        if start_from is not None:
            self._load_encoder(start_from)
        # The classifier has the encoder's final norm but, like the released one, does not apply it.
        self.model.encoder.norm.requires_grad_(False)
        self.model.encoder.checkpointing = activation_checkpointing
        self.augment = augment
        # Trained beside the classifier and then left behind: the shipped model is encoder and head alone.
        self.lesion_head = nn.Linear(card.architecture.embed_dim, len(card.labels))
        self.lr, self.weight_decay, self.warmup_share = lr, weight_decay, warmup_share
        self.label_smoothing = label_smoothing
        self.lesion_weight, self.lesion_share = lesion_weight, lesion_share
        self.lesion_gain = list(lesion_gain)
        names = len(card.labels)
        self.auroc = MultilabelAUROC(names, average=None)
        self.auprc = MultilabelAveragePrecision(names, average=None)

    def _load_encoder(self, name_or_path: str) -> None:
        """Copy a model's encoder, and its head too if it scores the same diseases."""
        source = load_model(name_or_path, device="cpu", precision="fp32")
        mine, theirs = self.model.card, source.card
        start = volume_encoder(source, mine.architecture.input_shape)
        head = {
            "outputs": mine.architecture.outputs,
            "head_dropout": mine.architecture.head_dropout,
        }
        if replace(start.card.architecture, **head) != mine.architecture:
            raise InputError(
                f"The architecture of {name_or_path} is not the one of this recipe's card."
            )
        self.model.encoder.load_state_dict(start.encoder.state_dict())
        same = [label.name for label in mine.labels] == [label.name for label in theirs.labels]
        if same and isinstance(source, OCTCubeClassifier):
            self.model.head.load_state_dict(source.head.state_dict())

    def training_step(self, batch: dict[str, torch.Tensor], _: int) -> torch.Tensor:
        """Loss of one batch."""
        volume, lesions = batch["volume"].float() / 255, batch["lesions"]
        if self.augment is not None:
            volume, lesions = self.augment(volume, lesions)
        tokens = self.model.encoder(volume.unsqueeze(1))
        loss = self._image_loss(self.model.head(tokens[:, 1:].mean(dim=1)), batch["labels"])
        self.log("train/image_loss", loss.detach(), prog_bar=True)
        if self.lesion_weight > 0:
            lesion_loss = self._lesion_loss(tokens[:, 1:], lesions)
            self.log("train/lesion_loss", lesion_loss.detach(), prog_bar=True)
            loss = loss + self.lesion_weight * lesion_loss
        return loss

    def _image_loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        pairs = logits.float().unflatten(-1, (-1, 2)).flatten(0, 1)
        return F.cross_entropy(pairs, labels.flatten().long(), label_smoothing=self.label_smoothing)

    def _lesion_loss(self, tokens: torch.Tensor, lesions: torch.Tensor) -> torch.Tensor:
        card = self.model.card
        target = lesion_targets(
            lesions, card.architecture.cube, len(card.labels), self.lesion_share
        )
        logits = self.lesion_head(tokens).float()
        weight = torch.tensor(self.lesion_gain, device=logits.device)
        return F.binary_cross_entropy_with_logits(logits, target, pos_weight=weight)

    def validation_step(self, batch: dict[str, torch.Tensor], _: int) -> None:
        """Collect probabilities for the epoch's metrics."""
        logits = self.model(batch["volume"].float().unsqueeze(1) / 255)
        self.log(
            "val/loss", self._image_loss(logits, batch["labels"]), prog_bar=True, sync_dist=True
        )
        probabilities = disease_probabilities(logits)
        self.auroc.update(probabilities, batch["labels"].long())
        self.auprc.update(probabilities, batch["labels"].long())

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of every disease and their means."""
        for name, metric in (("auroc", self.auroc), ("auprc", self.auprc)):
            values = metric.compute()
            self.log(f"val/{name}", values.mean(), prog_bar=True)
            for label, value in zip(self.model.card.labels, values, strict=True):
                self.log(f"val/{name}/{label.abbreviation.replace('/', '+')}", value)
            metric.reset()

    def optimizer(self) -> torch.optim.AdamW:
        """AdamW, without weight decay of gains, biases, tokens and positions."""
        matrices, others = [], []
        for name, parameter in self.named_parameters():
            plain = parameter.ndim < 2 or "positions" in name or "cls_token" in name
            (others if plain else matrices).append(parameter)
        groups = [
            {"params": matrices, "weight_decay": self.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        # The fused one alone needs no memory of its own during a step; it does not clip what fp16 has scaled.
        scaled = self._trainer is not None and self._trainer.scaler is not None
        fused = (self.device.type == "cuda" and not scaled) or None
        return torch.optim.AdamW(groups, lr=self.lr, betas=(0.9, 0.98), fused=fused)

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None
    ) -> None:
        """Step, then free the gradients: Lightning would keep them through the next forward pass."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        optimizer.zero_grad()

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and a cosine fall."""
        optimizer = self.optimizer()
        total = int(self.trainer.estimated_stepping_batches)
        warmup = max(1, round(self.warmup_share * total))

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }


def _check_recipe(card: ModelCard, lesion_gain: Sequence[float]) -> None:
    shape, diseases = card.architecture, len(card.labels)
    if shape.outputs != 2 * diseases:
        raise InputError(f"{diseases} labels need {2 * diseases} outputs, not {shape.outputs}.")
    if shape.embed_dim % shape.num_heads:
        raise InputError(f"embed_dim {shape.embed_dim} is no multiple of {shape.num_heads} heads.")
    if len(lesion_gain) not in (1, diseases):
        raise InputError(f"lesion_gain needs one value, or one for each of {diseases} labels.")


def lesion_targets(
    lesions: torch.Tensor, cube: tuple[int, int, int], diseases: int, full_share: float
) -> torch.Tensor:
    """Token-level targets in 0..1 from lesion bits.

    Parameters
    ----------
    lesions : uint8 tensor, shape (batch, frames, height, width); bit k says disease k
    cube : size of a token
    diseases : number of diseases
    full_share : share of a cube inside a lesion that makes the target 1

    Returns
    -------
    float tensor, shape (batch, tokens, diseases)
    """
    cubes = split_cubes(lesions, cube)
    voxels = torch.stack([((cubes >> k) & 1).sum(-1) for k in range(diseases)], dim=-1)
    return (voxels / (cubes.shape[-1] * full_share)).clamp_(max=1)
