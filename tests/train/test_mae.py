"""Masked autoencoding as a stage: the fixture's loss, what it starts from, hard slices, pictures, runs and recipes."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import octcube_core as oc
from octcube_core.checkpoints.encoders import image_encoder, volume_encoder
from octcube_core.checkpoints.format import save_checkpoint
from octcube_core.errors import InputError
from octcube_core.models.mae import MaskedAutoencoder
from octcube_core.models.octcube import FeatureEncoder
from tests.train.mae_store import SHAPE, batch, card, make_store
from train.__main__ import main
from train.engine.optimiser import Optimisation
from train.tasks.mae import MAETask
from train.tasks.mae_inputs import flipped
from train.tasks.masking import Masking, Masks
from train.tasks.pictures import reconstruction_panels
from train.tasks.slices import JointSlices, layer_errors

BESIDE = Path(__file__).parents[2] / "../shared/fixtures/upstream"
FIXTURE = Path(os.environ.get("OCTCUBE_UPSTREAM_FIXTURES", BESIDE)).resolve() / "mae"
CONFIGS = Path(__file__).parents[2] / "train" / "configs"
OPTIMISATION = Optimisation(lr=1e-3)

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log")


@pytest.mark.skipif(not FIXTURE.is_dir(), reason=f"no parity fixtures at {FIXTURE}")
def test_the_stage_gives_the_fixtures_loss(monkeypatch):
    checkpoint = str(next(FIXTURE.glob("checkpoint.*")))
    volume, keep = (torch.from_numpy(np.load(FIXTURE / f"{n}.npy")) for n in ("volume", "ids_keep"))
    shape = tuple(volume.shape[2:])
    released = oc.load_model(checkpoint, device="cpu", precision="fp32", input_shape=shape).card
    # The file's tables are finer than its grid and so are interpolated, as in a run that continues it.
    task = MAETask(released, OPTIMISATION, start_from=checkpoint, flips=False)
    monkeypatch.setattr(task, "masks", lambda inputs, training: Masks(keep.long(), None))
    inputs = SimpleNamespace(pixels=volume, rows=torch.arange(len(volume)))
    monkeypatch.setattr(task, "inputs", lambda data, training: inputs)
    loss = task.training_step({}, 0)
    assert loss.item() == pytest.approx(float(np.load(FIXTURE / "loss.npy")), abs=1e-5)


def test_the_loss_is_that_of_volumes_between_0_and_1(monkeypatch):
    task = MAETask(card(), OPTIMISATION, mask_ratio=0.5, flips=False)
    masks = task.masking.draw(3, 8)
    monkeypatch.setattr(task, "masks", lambda inputs, training: masks)
    data = batch(3)
    expected = task.model(data["volume"].float()[:, None] / 255, masks.keep).loss
    torch.testing.assert_close(task.training_step(data, 0), expected)


def test_any_size_of_the_store_is_brought_to_the_models():
    task = MAETask(card(), OPTIMISATION)
    data = batch(2) | {"volume": torch.full((2, 9, 40, 50), 51, dtype=torch.uint8)}
    pixels = task.inputs(data, training=True).pixels
    torch.testing.assert_close(pixels, torch.full((2, 1, *SHAPE), 0.2))


def test_a_volume_encoder_starts_from_images(tmp_path):
    torch.manual_seed(3)
    planar = dataclasses.replace(card(planar=True), decoder=None)
    retfound = FeatureEncoder(planar)
    save_checkpoint(tmp_path / "retfound.safetensors", retfound)
    mine = card(high_res_embedding=True)
    model = MAETask(mine, OPTIMISATION, start_from=str(tmp_path / "retfound.safetensors")).model
    ours, theirs = model.encoder, retfound.encoder
    torch.testing.assert_close(ours.blocks[1].mlp.fc1.weight, theirs.blocks[1].mlp.fc1.weight)
    torch.testing.assert_close(ours.embedding.weight, theirs.embedding.weight)
    torch.testing.assert_close(model.high_res_embedding.weight, theirs.embedding.weight)
    torch.testing.assert_close(ours.positions.spatial, theirs.positions.spatial)
    assert not ours.positions.temporal.any()


def test_an_autoencoder_is_continued_with_its_decoder_at_another_size(tmp_path):
    source = MaskedAutoencoder(card(high_res_embedding=True))
    save_checkpoint(tmp_path / "mae.safetensors", source)
    wider = card(high_res_embedding=True)
    grid = dataclasses.replace(wider.architecture, grid=(3, 2, 4))
    wider = dataclasses.replace(wider, architecture=grid)
    model = MAETask(wider, OPTIMISATION, start_from=str(tmp_path / "mae.safetensors")).model
    for name in ("pred.weight", "mask_token", "blocks.0.mlp.fc1.weight"):
        torch.testing.assert_close(
            model.decoder.state_dict()[name], source.decoder.state_dict()[name]
        )
    torch.testing.assert_close(model.high_res_embedding.weight, source.high_res_embedding.weight)
    for part in ("encoder", "decoder"):
        ours, theirs = getattr(model, part).positions, getattr(source, part).positions
        for found, expected in zip(ours.tables((3, 2, 4)), theirs.tables((3, 2, 4)), strict=True):
            torch.testing.assert_close(found, expected)


def test_a_start_of_other_sizes_is_refused(tmp_path):
    save_checkpoint(tmp_path / "mae.safetensors", MaskedAutoencoder(card()))
    other = card()
    other = dataclasses.replace(other, decoder=dataclasses.replace(other.decoder, mlp_dim=48))
    with pytest.raises(InputError, match=r"decoder of .* has mlp_dim 32"):
        MAETask(other, OPTIMISATION, start_from=str(tmp_path / "mae.safetensors"))
    stream = dataclasses.replace(card().architecture, final_residual=False)
    other = dataclasses.replace(card(), architecture=stream)
    with pytest.raises(InputError, match="has final_residual True"):
        MAETask(other, OPTIMISATION, start_from=str(tmp_path / "mae.safetensors"))


def test_data_of_the_wrong_kind_are_refused():
    def check(planar, modalities, frames=6, slices=None):
        task = MAETask(card(planar, high_res_embedding=not planar), OPTIMISATION, slices=slices)
        shape = (frames, 32, 32)
        task.check(
            SimpleNamespace(
                modalities=modalities,
                volume_shape=shape,
                training=[1, 2],
                store="eyes",
                cross_device="off",
            )
        )
        assert task.model.card.trained_on == f"2 exams ({', '.join(modalities)}) of eyes"

    check(False, ["OCT"])
    check(True, ["FAF", "IR"])
    for arguments in ((False, ["OCT", "IR"]), (True, ["OCT"]), (False, ["OCT"], 2, JointSlices())):
        with pytest.raises(InputError):
            check(*arguments)
    for wrong in (card(), card(planar=True)):
        with pytest.raises(InputError, match="high_res_embedding"):
            MAETask(wrong, OPTIMISATION, slices=JointSlices())


@pytest.mark.parametrize("fraction", [1.0, 0.5])
def test_the_hardest_layers_are_those_with_the_largest_masked_error(fraction):
    masking = Masking(0.5, fraction)
    masks = masking.fixed([(0,), (1,)], 200)  # five layers of forty tokens
    errors = torch.rand(2, 200, generator=torch.Generator().manual_seed(1))
    errors[1, 80:120] += 3
    errors[0, 160:] += 2
    errors.scatter_(1, masks.keep, 100.0)  # visible tokens do not count
    mask = torch.ones(2, 200).scatter(1, masks.keep, 0.0)
    if masks.decode is not None:
        errors = errors.gather(1, masks.decode)
    found = SimpleNamespace(errors=errors, mask=mask)
    eyes, layers = JointSlices(share=(0.2, 0.4)).hardest(found, masks, 5, progress=0.0)
    assert list(zip(eyes.tolist(), layers.tolist(), strict=True)) == [(1, 2), (0, 4)]
    assert len(JointSlices(share=(0.2, 0.4)).hardest(found, masks, 5, progress=1.0)[0]) == 4
    assert layer_errors(found, masks, 5).max() < 5


def test_slices_are_cut_from_the_store_where_the_layer_lies():
    volume = torch.arange(12, dtype=torch.uint8).view(1, 12, 1, 1).expand(2, 12, 8, 8) * 10
    eyes, layers = torch.tensor([0, 1, 1]), torch.tensor([0, 1, 3])
    stacks = JointSlices(size=(8, 8)).cut(volume, eyes, layers, (4, 2, 2), 3)
    assert stacks.dtype == torch.uint8
    assert stacks[:, :, 0, 0].tolist() == [[0, 10, 20], [30, 40, 50], [90, 100, 110]]
    finer = JointSlices(size=(16, 16)).cut(volume, eyes, layers, (2, 2, 2), 3)
    assert finer.shape == (3, 3, 16, 16)
    # Two layers over twelve frames: their middles lie at 2.5 and 8.5.
    first = (finer[:, 0, 0, 0] * 255 / 10).round().tolist()
    assert first[0] in (1, 2)
    assert first[1] in (7, 8)


def test_flips_are_of_each_eye_alone():
    torch.manual_seed(0)
    volume = torch.arange(24).view(1, 2, 3, 4).repeat(64, 1, 1, 1)
    once = volume[0]
    kinds = [once, once.flip(0), once.flip(2), once.flip((0, 2))]
    eyes = flipped(volume, (1, 3))
    counts = [sum(torch.equal(eye, kind) for eye in eyes) for kind in kinds]
    assert sum(counts) == 64
    assert min(counts) > 4


def test_pictures_show_original_mask_and_reconstruction():
    for norm_pix in (False, True):
        task = MAETask(card(), OPTIMISATION, mask_ratio=0.5, norm_pix=norm_pix)
        volume = batch(2)["volume"]
        keep = torch.tensor([[4, 5], [0, 7]])  # layer 1 (frames 3 to 5) begins at token 4
        panels = reconstruction_panels(task.model, volume[:, None], keep, norm_pix=norm_pix)
        original, masked, made = panels[0]
        np.testing.assert_allclose(original, volume[0, 3].numpy() / 255, atol=1e-6)
        np.testing.assert_allclose(masked[:16], original[:16], atol=1e-6)
        assert len(np.unique(masked[16:])) == 1
        np.testing.assert_allclose(made[:16], original[:16], atol=1e-6)
        assert np.abs(made[16:] - original[16:]).max() > 0.01


SMALL = {
    "model.card.architecture.embed_dim": 32,
    "model.card.architecture.depth": 2,
    "model.card.architecture.num_heads": 2,
    "model.card.architecture.mlp_dim": 64,
    "model.card.decoder.embed_dim": 32,
    "model.card.decoder.depth": 1,
    "model.card.decoder.num_heads": 2,
    "model.card.decoder.mlp_dim": 64,
    "model.start_from": "null",
    "trainer.accelerator": "cpu",
    "trainer.devices": 1,
    "trainer.strategy": "auto",
    "trainer.precision": 32,
    "trainer.max_epochs": 2,
    "trainer.enable_progress_bar": "false",
    "trainer.log_every_n_steps": 1,
    "data.batch_size": 4,
    "data.workers": 0,
}
JOINT = {
    "model.card.architecture.position_table": "[2,4,4]",
    "model.card.decoder.position_table": "[2,4,4]",
    "model.slices.size": "[64,64]",
    "model.decode_fraction": 0.5,
}


def _train(
    folder: Path, recipe: str, **settings: object
) -> tuple[MaskedAutoencoder, EventAccumulator]:
    export, root = folder / f"{recipe}.safetensors", folder / recipe
    values = {**SMALL, **settings, "export": export, "trainer.default_root_dir": root}
    arguments = [f"--{name}={value}" for name, value in values.items()]
    assert main(["mae", "--config", str(CONFIGS / f"{recipe}.yaml"), *arguments]) == 0
    events = EventAccumulator(str(root / "tensorboard")).Reload()
    return oc.load_model(export, device="cpu", precision="fp32"), events


def test_a_run_on_volumes_and_slices_learns_and_ends_in_a_model(tmp_path):
    store = make_store(tmp_path / "eyes")
    model, events = _train(
        tmp_path,
        "mae_octcube_joint",
        **JOINT,
        **{"data.store": store, "model.card.architecture.grid": "[2,2,2]"},
        **{"trainer.max_epochs": 12, "model.pictures.every": 12},
        **{"model.optimisation.base_lr": "null", "model.optimisation.lr": 3e-3},
    )
    assert model.card.kind == "mae"
    assert model.card.trained_on == "8 exams (OCT) of eyes"
    assert model.card.notes["recipe"]["decode_fraction"] == 0.5
    assert model.high_res_embedding.weight.any()
    losses = [event.value for event in events.Scalars("val/loss")]
    assert losses[-1] < 0.7 * losses[0]
    assert {"train/loss", "train/slice_loss", "val/psnr"} <= set(events.Tags()["scalars"])
    (picture,) = events.Images("reconstruction")
    assert (picture.width, picture.height) == (3 * 36 + 4, 16 + 4 * 36)
    assert volume_encoder(model).card.kind == "encoder"


def test_one_encoder_learns_two_kinds_of_images(tmp_path):
    store = make_store(tmp_path / "eyes", images=True)
    model, events = _train(
        tmp_path,
        "mae_enface",
        **{"data.store": store, "model.card.architecture.grid": "[1,2,2]"},
        **{"model.pictures.every": 2},
    )
    assert image_encoder(model).card.kind == "enface"
    assert model.card.enface_modalities == ("FAF", "IR")
    assert {"val/loss", "val/loss/FAF", "val/loss/IR"} <= set(events.Tags()["scalars"])
    assert len(events.Images("reconstruction")) == 1


PAPER = {
    "mae_octcube": ([20, 16, 16], 0.9, 50, 4, "retfound-oct"),
    "mae_octcube_joint": ([20, 16, 16], 0.9, 50, 4, "retfound-oct"),
    "mae_ef": ([20, 16, 24], 0.9, 50, 8, "octcube"),
    "mae_enface": ([1, 24, 24], 0.75, 200, None, "retfound-cfp"),
}


@pytest.mark.parametrize("name", PAPER)
def test_recipes_are_those_of_the_paper(name):
    recipe = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    grid, ratio, epochs, effective_batch, start = PAPER[name]
    model, trainer = recipe["model"], recipe["trainer"]
    architecture, decoder = model["card"]["architecture"], model["card"]["decoder"]
    assert (architecture["grid"], architecture["cube"]) == (grid, [3, 16, 16])
    assert [architecture[k] for k in ("embed_dim", "depth", "num_heads", "mlp_dim")] == [
        1024,
        24,
        16,
        4096,
    ]
    assert [decoder[k] for k in ("embed_dim", "depth", "num_heads", "mlp_dim")] == [
        512,
        8,
        16,
        2048,
    ]
    assert (model["mask_ratio"], trainer["max_epochs"], model["start_from"]) == (
        ratio,
        epochs,
        start,
    )
    assert trainer["precision"] == "bf16-mixed"
    if effective_batch is not None:
        assert recipe["data"]["batch_size"] * trainer["devices"] == effective_batch
    optimisation = Optimisation(**model["optimisation"])
    assert optimisation.peak(256) == 1.6e-3
    assert (optimisation.weight_decay, optimisation.warmup(5000, 100)) == (0.05, 500)
    if name == "mae_octcube_joint":
        assert model["slices"]["size"] == [512, 512]
        assert (model["slices"]["share"], model["slices"]["mask_ratio"]) == (
            [0.15, 0.3],
            [0.75, 0.85],
        )


def test_speed_is_measured_with_and_without_a_part_of_the_decoder(capsys):
    sizes = ["--size", "12", "64", "64", "--embed-dim", "64", "--depth", "1", "--batch", "1"]
    small = [
        *sizes,
        "--decoder-dim",
        "32",
        "--decoder-depth",
        "1",
        "--steps",
        "1",
        "--device",
        "cpu",
    ]
    assert main(["mae-speed", "--json", "--fractions", "0.25", "--peak-tflops", "1", *small]) == 0
    found = json.loads(capsys.readouterr().out)
    plain, part = found["rows"]
    assert (plain["decode_fraction"], part["decode_fraction"]) == (1, 0.25)
    assert plain["speedup"] == 1
    assert part["speedup"] == pytest.approx(part["volumes_per_s"] / plain["volumes_per_s"])
    for row in (plain, part):
        assert row["mfu"] == pytest.approx(row["tflops"])
    work = [row["tflops"] / row["volumes_per_s"] for row in (plain, part)]
    assert work[1] < 0.6 * work[0]
    assert main(["mae-speed", "--size", "13", "64", "64"]) == 2
    assert main(["mae-speed", *small, "--steps", "0"]) == 2
