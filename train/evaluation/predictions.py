"""What a model says about exams of a store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning.fabric.utilities import move_data_to_device
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from octcube_core.checkpoints.card import ModelCard
from octcube_core.errors import InputError
from octcube_core.models.coep import COEPModel
from octcube_core.models.family import Model
from octcube_core.models.heads import label_probabilities, target_values
from train.data.datasets import StoreDataset
from train.data.loader import BatchLoader
from train.data.sampler import EveryRow
from train.data.store import OCT, VolumeStore
from train.tasks.finetuning.inputs import Inputs, modalities_of, model_inputs, model_outputs


def predict(
    model: Model, store: VolumeStore, rows: NDArray[np.int64], *, batch_size: int, workers: int
) -> torch.Tensor:
    """Outputs of a model with a head for labels or targets, shape (rows, outputs), float32, on the CPU.

    The model runs as it is: on its device, in its precision.

    Parameters
    ----------
    model : in eval mode
    store : VolumeStore
    rows : of the manifest; exams that ``can_be_seen``
    batch_size : exams at once
    workers : threads that read ahead

    Raises
    ------
    InputError
        If the model has no such head, the store has none of its modalities, or results are not finite.
    """
    if not model.card.outputs:
        raise InputError(
            f"{model.card.name} has no head for labels or targets; fine-tune it first."
        )
    order = modalities_seen(model.card, store)
    outputs = torch.empty(len(rows), model.card.outputs)
    with torch.inference_mode():
        for place, batch, inputs in _batches(model, store, rows, order, batch_size, workers):
            outputs[place] = model_outputs(model, inputs, batch["present"], order).float().cpu()
    _check_finite(outputs, model.card)
    return outputs


def embed(
    model: COEPModel, store: VolumeStore, rows: NDArray[np.int64], *, batch_size: int, workers: int
) -> dict[str, NDArray[np.float32]]:
    """Embeddings (rows, projection) of each modality of an aligned model, NaN where an exam lacks it.

    Raises
    ------
    InputError
        If results are not finite.
    """
    order = tuple(name for name in (OCT, *model.modalities) if name in store.modalities)
    found = {name: torch.full((len(rows), _projection(model.card)), torch.nan) for name in order}
    with torch.inference_mode():
        for place, batch, inputs in _batches(model, store, rows, order, batch_size, workers):
            for number, name in enumerate(order):
                value = inputs[name]
                embedding = (
                    model.embed_volume(value) if name == OCT else model.embed_enface(value, name)
                )
                missing = ~batch["present"][:, number : number + 1]
                _check_finite(embedding.masked_fill(missing, 0), model.card)
                found[name][place] = embedding.float().masked_fill(missing, torch.nan).cpu()
    return {name: embedding.numpy() for name, embedding in found.items()}


def _check_finite(results: torch.Tensor, card: ModelCard) -> None:
    if not bool(results.isfinite().all()):
        raise InputError(
            f"The results of {card.name} are not finite; run it with --precision fp32, or train it again."
        )


def said(outputs: torch.Tensor, card: ModelCard) -> NDArray[np.float64]:
    """Probabilities of the card's labels, or values of its targets in their units; shape (exams, columns)."""
    values = label_probabilities(outputs, card) if card.labels else target_values(outputs, card)
    return values.double().numpy()


def predictions_table(
    manifest: pd.DataFrame,
    rows: NDArray[np.int64],
    truth: pd.DataFrame,
    predicted: NDArray[np.float64],
    names: Sequence[str],
) -> pd.DataFrame:
    """A row per exam: row of the manifest, eye, patient (hash), ``truth/...`` of labels, ``predicted/...`` of outputs.

    The truth of one of several classes is its number.
    """
    exams = manifest.iloc[rows]
    identity = {"row": rows, "eye": exams["eye"].to_numpy(), "patient": exams["patient"].to_numpy()}
    known = {f"truth/{name}": truth[name].to_numpy() for name in truth.columns}
    given = {f"predicted/{name}": predicted[:, number] for number, name in enumerate(names)}
    return pd.DataFrame({**identity, **known, **given})


def _batches(
    model: Model,
    store: VolumeStore,
    rows: NDArray[np.int64],
    order: Sequence[str],
    batch_size: int,
    workers: int,
) -> Iterator[tuple[slice, dict[str, Any], Inputs]]:
    """Place among the rows, batch and model inputs, on the model's device, with a progress bar."""
    device = next(model.parameters()).device
    dataset = StoreDataset(store, rows, order)
    loader = BatchLoader(dataset, EveryRow(len(rows), batch_size), workers)
    shown = track(loader, "Exams", total=len(loader), console=Console(stderr=True), transient=True)
    for number, batch in enumerate(shown):
        batch = move_data_to_device(batch, device)
        first = number * batch_size
        place = slice(first, first + len(batch["row"]))
        yield place, batch, model_inputs(model.card, batch)


def modalities_seen(card: ModelCard, store: VolumeStore) -> tuple[str, ...]:
    """The modalities of a store that a model with a head is given; InputError if the store has none of them."""
    wanted = modalities_of(card)
    had = tuple(name for name in wanted if name in store.modalities)
    if not had:
        seen = ", ".join(wanted) or "images of a modality that its card does not name"
        raise InputError(
            f"{card.name} sees {seen}, but the store has {', '.join(store.modalities)}."
        )
    return had if card.alignment is not None else had[:1]


def can_be_seen(card: ModelCard, store: VolumeStore) -> NDArray[np.bool_]:
    """Whether each exam of a store has one of the modalities that a model with a head sees."""
    columns = [store.modalities.index(name) for name in modalities_seen(card, store)]
    seen: NDArray[np.bool_] = store.present[:, columns].any(axis=1)
    return seen


def _projection(card: ModelCard) -> int:
    assert card.alignment is not None
    return card.alignment.projection
