"""COEP from a store to a model that embeds, through the command line; what it starts from and what it refuses."""

from __future__ import annotations

import dataclasses
import math

import lightning as L
import numpy as np
import pandas as pd
import pytest
import torch

import octcube_core as oc
from octcube_core.checkpoints.card import Decoder, ModelCard
from octcube_core.checkpoints.format import save_checkpoint
from octcube_core.errors import InputError
from octcube_core.models.family import network
from tests.train.tiny_coep import CARD, IMAGE, VOLUME, make_task
from train.__main__ import main
from train.data.module import StoreData
from train.data.store import StoreLayout, new_store, write_manifest, write_shard
from train.engine.optimiser import Optimisation
from train.tasks.coep import COEPTask


def make_store(folder, count=16):
    """Exams whose images are the volume seen from above, so that they can be aligned."""
    rng = np.random.default_rng(0)
    rows = np.arange(count)
    with new_store(
        folder, StoreLayout(count, (6, 16, 16), {"FAF": (16, 16), "IR": (16, 16)})
    ) as new:
        pattern = rng.integers(0, 256, (count, 6, 1, 16), dtype=np.uint8)
        above = np.repeat(pattern[:, [0, 1, 2, 3], 0], 4, axis=1)
        write_shard(new, 0, np.repeat(pattern, 16, axis=2), {"FAF": above, "IR": 255 - above})
        manifest = {
            "eye": rows.astype(str),
            "patient": (rows // 2).astype(str),
            "visit": 1,
            "laterality": np.where(rows % 2, "OS", "OD"),
            "device": "",
            "modalities": [["OCT", "IR"] if row % 4 == 3 else ["OCT", "FAF", "IR"] for row in rows],
            **dict.fromkeys(("spacing_z_mm", "spacing_y_mm", "spacing_x_mm"), math.nan),
            "split": np.where(rows < count // 2, "train", "validation"),
        }
        write_manifest(new, pd.DataFrame(manifest))
    return folder


def recipe(store, folder, *more):
    def flags(place, shape):
        values = dataclasses.asdict(shape)
        return [
            f"--model.card.{place}.{name}={value}"
            for name, value in values.items()
            if value is not None
        ]

    return [
        "coep",
        f"--data.store={store}",
        "--data.modalities=[OCT,FAF,IR]",
        "--data.batch_size=4",
        "--data.workers=0",
        "--model.card.name=Tiny",
        "--model.card.version='1'",
        *[flag.replace("(", "[").replace(")", "]") for flag in flags("architecture", VOLUME)],
        "--model.card.alignment.projection=6",
        "--model.card.alignment.modalities=[FAF,IR]",
        *[flag.replace("(", "[").replace(")", "]") for flag in flags("alignment.enface", IMAGE)],
        "--model.optimisation.lr=1e-2",
        "--model.micro_batch=2",
        "--trainer.accelerator=cpu",
        "--trainer.max_epochs=2",
        "--trainer.gradient_clip_val=1.0",
        "--trainer.enable_progress_bar=false",
        f"--trainer.default_root_dir={folder / 'run'}",
        f"--export={folder / 'model.safetensors'}",
        *more,
    ]


def test_the_layer_decay_is_for_the_oct_tower_alone(tmp_path):
    store = make_store(tmp_path / "eyes")
    rates = {}

    class Spy(COEPTask):
        def configure_optimizers(self):
            result = super().configure_optimizers()
            names = {id(weight): name for name, weight in self.named_parameters()}
            for group in result["optimizer"].param_groups:
                rates.update({names[id(weight)]: group["initial_lr"] for weight in group["params"]})
            return result

    task = Spy(CARD, Optimisation(lr=1.0, layer_decay=0.5), frozen_blocks=1)
    data = StoreData(str(store), ["OCT", "FAF", "IR"], batch_size=4, workers=0)
    L.Trainer(fast_dev_run=True, accelerator="cpu", logger=False, enable_progress_bar=False).fit(
        task, data
    )
    assert rates["model.oct_tower.head.weight"] == 1.0
    assert rates["model.oct_tower.encoder.blocks.2.mlp.fc1.weight"] == 0.5
    assert rates["model.oct_tower.encoder.blocks.1.mlp.fc1.weight"] == 0.25
    assert rates["model.enface_tower.encoder.blocks.0.mlp.fc1.weight"] == 1.0
    assert rates["model.enface_tower.encoder.embedding.weight"] == 1.0
    assert "model.oct_tower.encoder.blocks.0.mlp.fc1.weight" not in rates


def save(path, card):
    torch.manual_seed(9)
    save_checkpoint(path, network(card))
    return str(path)


def test_towers_start_from_other_models(tmp_path):
    decoder = Decoder(8, 1, 1, 16, True)
    larger = dataclasses.replace(VOLUME, grid=(3, 2, 3))
    volumes = save(tmp_path / "mae.safetensors", ModelCard("MAE", "1", larger, decoder=decoder))
    images = save(tmp_path / "enface.safetensors", ModelCard("2D", "1", IMAGE, decoder=decoder))
    aligned = save(tmp_path / "coep.safetensors", CARD)
    task = make_task(start_from_oct=volumes, start_from_enface=images)
    start = oc.load_model(volumes, device="cpu", precision="fp32").encoder
    own = task.model.oct_tower.encoder
    torch.testing.assert_close(own.blocks[0].mlp.fc1.weight, start.blocks[0].mlp.fc1.weight)
    torch.testing.assert_close(own.positions.spatial, start.positions.tables((2, 2, 2))[0])
    start = oc.load_model(images, device="cpu", precision="fp32").encoder
    own = task.model.enface_tower.encoder
    torch.testing.assert_close(own.state_dict(), start.state_dict())
    task = make_task(start_from_oct=aligned, start_from_enface=aligned)
    start = oc.load_model(aligned, device="cpu", precision="fp32")
    own = task.model
    torch.testing.assert_close(
        own.enface_tower.encoder.state_dict(), start.enface_tower.encoder.state_dict()
    )
    torch.testing.assert_close(
        own.oct_tower.encoder.state_dict(), start.oct_tower.encoder.state_dict()
    )
    assert not torch.equal(own.enface_tower.head.weight, start.enface_tower.head.weight)


def test_a_start_of_another_architecture_is_refused(tmp_path):
    deeper = dataclasses.replace(VOLUME, depth=4)
    path = save(tmp_path / "deep.safetensors", ModelCard("Deep", "1", deeper))
    with pytest.raises(InputError, match="depth 4, and this recipe's card says 3"):
        make_task(start_from_oct=path)
    with pytest.raises(InputError, match="en-face"):
        make_task(start_from_enface=path)


def test_a_run_ends_in_a_model_that_embeds(tmp_path):
    store = make_store(tmp_path / "eyes")
    assert (
        main(
            recipe(
                store,
                tmp_path,
                "--ema=0.5",
                "--trainer.logger=lightning.pytorch.loggers.CSVLogger",
                f"--trainer.logger.save_dir={tmp_path}",
                "--trainer.log_every_n_steps=1",
            )
        )
        == 0
    )
    model = oc.load_model(tmp_path / "model.safetensors", device="cpu")
    assert model.modalities == ("FAF", "IR")
    assert model.embed_volume(torch.rand(2, 1, 6, 16, 16)).shape == (2, 6)
    (log,) = tmp_path.rglob("metrics.csv")
    logged = pd.read_csv(log)
    for name in (
        "val/r1",
        "val/OCT-IR/forward/recall@1",
        "val/FAF-IR/backward/recall@10",
        "val/OCT-FAF/forward/laterality_accuracy@1",
        "train/loss",
        "train/temperature/OCT-FAF",
        "train/accuracy/FAF-IR",
    ):
        assert logged[name].notna().any(), name
    assert logged["train/temperature/OCT-FAF"].dropna().iloc[0] == pytest.approx(0.07)


def test_a_run_that_dies_in_an_epoch_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    store, weights = make_store(tmp_path / "eyes", count=24), []
    options = (
        "--save_every_steps=1",
        "--monitor=null",
        "--model.augment=train.data.augment_pairs.PairAugment",
    )
    for name, dies in (("whole", False), ("dies", True)):
        folder = tmp_path / name
        folder.mkdir()
        with monkeypatch.context() as patch:
            if dies:
                patch.setattr(COEPTask, "on_train_batch_start", _die_in_the_second_epoch)
                with pytest.raises(RuntimeError, match="power cut"):
                    main(recipe(store, folder, *options))
        assert main(recipe(store, folder, "--resume=auto", *options)) == 0
        weights.append(oc.load_model(folder / "model.safetensors", device="cpu").state_dict())
    torch.testing.assert_close(weights[1], weights[0], rtol=0, atol=0)


def _die_in_the_second_epoch(task, _, batch_idx):
    if (task.current_epoch, batch_idx) == (1, 2):
        raise RuntimeError("power cut")


def test_temperatures_stay_above_a_hundredth(tmp_path):
    store = make_store(tmp_path / "eyes")
    assert (
        main(recipe(store, tmp_path, "--model.optimisation.lr=10", "--trainer.max_epochs=3")) == 0
    )
    model = oc.load_model(tmp_path / "model.safetensors", device="cpu", precision="fp32")
    assert float(model.logit_scales.max()) <= 100.5  # the file is in bf16


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("--data.modalities=[OCT,IR,FAF]", "OCT, FAF, IR"),
        ("--trainer.accumulate_grad_batches=2", "micro_batch"),
        ("--model.frozen_blocks=4", "between 0 and 3"),
        ("--model.frozen_enface_blocks=9", "frozen_enface_blocks must be between 0 and 2"),
        ("--model.contrast.same_side=1", "same_side must be at least 0 and below 1"),
        ("--model.contrast={objective: siglip, same_side: 0.1}", "for the objective infonce"),
        ("--model.micro_batch=0", "micro_batch"),
        ("--model.kept_tokens=0", "kept_tokens"),
        ("--model.card.alignment.regression_hidden=4", "no head"),
        ("--model.contrast.objective=clip", "objective"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(tmp_path, capsys, wrong, sentence):
    store = make_store(tmp_path / "eyes")
    assert main(recipe(store, tmp_path, wrong)) == 2
    assert sentence in capsys.readouterr().err
