"""Masked autoencoding (He et al., arXiv:2111.06377) of OCT volumes, hard slices beside them, or of en-face images."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import nn
from torchmetrics import MeanMetric

from octcube_core import __version__
from octcube_core.checkpoints.card import ModelCard
from octcube_core.errors import InputError
from octcube_core.models.mae import MaskedAutoencoder, Reconstruction
from train.data.store import OCT
from train.engine.card_in_checkpoint import CardInCheckpoint, with_origin
from train.engine.distributed import share_of_mean
from train.engine.optimiser import Optimisation, configure
from train.tasks.mae_inputs import Batch, Inputs, image_inputs, valid_items, volume_inputs
from train.tasks.mae_start import start_from as load_start
from train.tasks.masking import Masking, Masks
from train.tasks.pictures import Pictures, contact_sheet, log_picture, reconstruction_panels
from train.tasks.slices import JointSlices


class MAETask(CardInCheckpoint, L.LightningModule):
    """Reconstruction of masked cubes or patches.

    A card with a planar architecture trains on all en-face modalities of the data with one encoder; any other trains
    on volumes.

    Parameters
    ----------
    card : the model's card, with its architecture and decoder
    optimisation : learning rate, its schedule and weight decay
    start_from : name or file of a model to start from; of a masked autoencoder the decoder comes along. None starts
        from random weights
    mask_ratio : share of the tokens that are hidden
    decode_fraction : share of the hidden tokens, drawn anew in each step, that the decoder predicts in training. The
        decoder is most of the cost, which falls with this share; the loss remains an unbiased estimate. Validation
        predicts all
    norm_pix : predict each cube's voxels less their mean, over their standard deviation
    flips : flip volumes at random along the B-scans' order and along their width, images from left to right
    slices : train on the hardest slices in high resolution too; needs the card's ``high_res_embedding``
    pictures : which reconstructions go to the log
    activation_checkpointing : keep only what passes between the blocks for the backward pass, and compute the rest
        again: much less memory, a third more time, the same result
    """

    def __init__(
        self,
        card: ModelCard,
        optimisation: Optimisation,
        start_from: str | None = None,
        mask_ratio: float = 0.9,
        decode_fraction: float = 1.0,
        norm_pix: bool = False,
        flips: bool = True,
        slices: JointSlices | None = None,
        pictures: Pictures | None = None,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        _check_recipe(card, slices)
        self.masking = Masking(mask_ratio, decode_fraction)
        recipe = {
            "stage": "mae",
            "start_from": start_from and Path(start_from).name,
            "mask_ratio": mask_ratio,
            "decode_fraction": decode_fraction,
            "norm_pix": norm_pix,
            "slices": None if slices is None else asdict(slices),
            "optimisation": asdict(optimisation),
            "software": f"napari-octcube {__version__}",
        }
        self.model = MaskedAutoencoder(replace(card, notes={**card.notes, "recipe": recipe}))
        if start_from is not None:
            load_start(self.model, start_from)
        if self.model.high_res_embedding is not None and slices is None:
            self.model.high_res_embedding.requires_grad_(False)  # it gets no gradient
        self.model.encoder.checkpointing = activation_checkpointing
        self.model.decoder.checkpointing = activation_checkpointing
        self.optimisation = optimisation
        self.norm_pix, self.flips = norm_pix, flips
        self.slices = slices
        self.pictures = pictures or Pictures()
        self.modalities: list[str] = []

    def check(self, data: Any) -> None:
        """Learn the data's modalities; InputError if this model cannot learn from them."""
        card = self.model.card
        volumes, images = OCT in data.modalities, [m for m in data.modalities if m != OCT]
        if card.architecture.planar and (volumes or not images):
            raise InputError(
                "A planar card learns en-face images: data.modalities must name some, and not OCT."
            )
        if not card.architecture.planar and (images or not volumes):
            raise InputError("This card learns volumes: data.modalities must be [OCT].")
        frames, depth = data.volume_shape[0], card.architecture.cube[0]
        if self.slices is not None and frames < depth:
            raise InputError(f"The store's {frames} frames are too few for stacks of {depth}.")
        self.modalities = list(data.modalities)
        self.val_loss = nn.ModuleDict({name: MeanMetric() for name in self.modalities})
        self.model.card = with_origin(card, data)

    def inputs(self, batch: Batch, *, training: bool = False) -> Inputs:
        """The model's input from a batch of the store; in training with random flips."""
        shape, flips = self.model.card.architecture.input_shape, self.flips and training
        if self.model.card.architecture.planar:
            return image_inputs(batch, self.modalities, shape[1:], flips)
        return volume_inputs(batch, shape, flips)

    def masks(self, inputs: Inputs, *, training: bool) -> Masks:
        """New masks for training, for validation those that belong to each image of the store."""
        tokens = math.prod(self.model.encoder.grid(inputs.pixels))
        if training:
            masks = self.masking.draw(len(inputs.rows), tokens)
        else:
            keys = zip(inputs.rows.tolist(), inputs.modalities.tolist(), strict=True)
            masks = Masking(self.masking.mask_ratio).fixed(list(keys), tokens)
        return masks.to(inputs.pixels.device)

    def training_step(self, batch: Batch, _: int) -> torch.Tensor:
        """Mean loss over all items of all processes (DDP averages over the processes)."""
        inputs = self.inputs(batch, training=True)
        masks = self.masks(inputs, training=True)
        found = self.model(inputs.pixels, masks.keep, masks.decode, norm_pix=self.norm_pix)
        self.log("train/loss", found.loss.detach(), prog_bar=True)
        loss = found.loss
        if len(self.modalities) > 1:
            loss = loss * share_of_mean(len(inputs.rows), loss.device)
        if self.slices is not None:
            slice_loss = self._slice_loss(self.slices, inputs, found, masks)
            self.log("train/slice_loss", slice_loss.detach(), prog_bar=True)
            loss = loss + self.slices.weight * slice_loss
        return loss

    def _slice_loss(
        self, slices: JointSlices, inputs: Inputs, found: Reconstruction, masks: Masks
    ) -> torch.Tensor:
        assert inputs.stored is not None
        grid = self.model.encoder.grid(inputs.pixels)
        progress = self.trainer.global_step / max(1, int(self.trainer.estimated_stepping_batches))
        chosen = slices.hardest(found, masks, grid[0], progress)
        depth, height, width = self.model.card.architecture.cube
        stacks = slices.cut(inputs.stored, *chosen, grid, depth)
        tokens = (slices.size[0] // height) * (slices.size[1] // width)
        masking = slices.masking(progress, self.masking.decode_fraction)
        drawn = masking.draw(len(stacks), tokens).to(stacks.device)
        return self.model.reconstruct_slices(
            stacks, drawn.keep, drawn.decode, norm_pix=self.norm_pix
        ).loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect the loss of every item under its own mask, all hidden tokens predicted."""
        if not batch["valid"].any():
            return
        inputs = self.inputs(valid_items(batch))
        masks = self.masks(inputs, training=False)
        found = self.model(inputs.pixels, masks.keep, norm_pix=self.norm_pix)
        losses = (found.errors * found.mask).sum(dim=1) / found.mask.sum(dim=1)
        for number, name in enumerate(self.modalities):
            self.val_loss[name].update(losses[inputs.modalities == number])
        if batch_idx == 0:
            self._show(inputs, masks)

    def on_validation_epoch_end(self) -> None:
        """Log the loss of each modality and their mean; of volumes also the peak signal-to-noise ratio in dB."""
        losses = {name: metric.compute() for name, metric in self.val_loss.items()}
        known = [value for value in losses.values() if value.isfinite()]
        if known:
            self.log("val/loss", torch.stack(known).mean(), prog_bar=True)
        if len(losses) > 1:
            self.log_dict({f"val/loss/{name}": value for name, value in losses.items()})
        elif not self.norm_pix and OCT in losses:
            self.log("val/psnr", -10 * losses[OCT].log10())
        for metric in self.val_loss.values():
            metric.reset()

    def _show(self, inputs: Inputs, masks: Masks) -> None:
        """Give reconstructions of the first eyes to the log."""
        trainer = self.trainer
        due = self.pictures.due(trainer.current_epoch) and not trainer.sanity_checking
        if not (due and trainer.is_global_zero and trainer.loggers):
            return
        first = torch.unique(inputs.rows)[: self.pictures.eyes]
        shown = torch.isin(inputs.rows, first)
        panels = reconstruction_panels(
            self.model, inputs.pixels[shown], masks.keep[shown], norm_pix=self.norm_pix
        )
        log_picture(trainer.loggers, "reconstruction", contact_sheet(panels), trainer.global_step)

    def configure_optimizers(self) -> Any:
        """AdamW with the recipe's schedule."""
        return configure(self, self.optimisation)

    def exported(self) -> MaskedAutoencoder:
        """The masked autoencoder with a card that says how it came about."""
        return self.model


def _check_recipe(card: ModelCard, slices: JointSlices | None) -> None:
    architecture, decoder = card.architecture, card.decoder
    if decoder is None:
        raise InputError("A masked autoencoder's card needs a decoder.")
    for part, name in ((architecture, "architecture"), (decoder, "decoder")):
        if part.embed_dim % part.num_heads:
            raise InputError(
                f"{name}.embed_dim {part.embed_dim} is no multiple of {part.num_heads} heads."
            )
    if slices is None:
        return
    if architecture.planar or not decoder.high_res_embedding:
        raise InputError(
            "Training on slices needs a card of volumes with decoder.high_res_embedding true."
        )
    if any(size % cube for size, cube in zip(slices.size, architecture.cube[1:], strict=True)):
        raise InputError(f"Cubes of {architecture.cube} do not divide slices of {slices.size}.")
