"""A model of the middle B-scan alone sees that, trains on it, and is compared with one of whole volumes."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from octcube_core.checkpoints.card import Label
from octcube_core.checkpoints.format import save_checkpoint
from octcube_core.errors import InputError
from octcube_core.models.family import network
from tests.train.tiny_exams import tiny_store, volume_card
from tests.train.tiny_store import SHAPE, make_tiny_store, pixels
from train.__main__ import main
from train.data.module import StoreData
from train.data.store import VolumeStore
from train.data.to_device import volumes_to_input
from train.evaluation.center_slice import compare
from train.tasks.finetuning.labelled_card import with_outputs


def test_a_batch_holds_nothing_but_the_middle_slice(tmp_path):
    folder = make_tiny_store(tmp_path / "store", absent={(2, "OCT")})
    data = StoreData(str(folder), ["OCT", "IR"], batch_size=3, lesions=True, center_slice=3)
    data.setup("fit")
    assert data.volume_shape == (3, *SHAPE[1:])
    for batch in data.train_dataloader():
        made = volumes_to_input(batch["volume"], data.volume_shape)
        for place, row in enumerate(batch["row"].tolist()):
            middle = np.zeros(SHAPE[1:], np.uint8) if row == 2 else pixels(row)[1]
            assert (batch["volume"][place].numpy() == middle).all()
            assert (batch["lesions"][place].numpy() == pixels(row, "lesions")[1]).all()
            assert (batch["images"]["IR"][place].numpy() == pixels(row, "IR")).all()
            assert (made[place, 0] == torch.from_numpy(middle) / 255).all()
    with pytest.raises(InputError, match="center_slice"):
        VolumeStore.open(folder, -1)


def test_its_predictions_do_not_depend_on_the_other_slices(tmp_path):
    """With the recipe of its training, evaluate too shows it nothing but the middle slice."""
    folder = tiny_store(tmp_path / "store", training=0, validation=1, test=12)
    store = VolumeStore.open(folder)
    other = tiny_store(tmp_path / "other", training=0, validation=1, test=12)
    shard = next(
        path for path in (other / "volumes.zarr" / "volumes" / "c").rglob("*") if path.is_file()
    )
    content = bytearray(shard.read_bytes())
    size = store.read(0).size
    for row in range(len(store.manifest)):
        middle = len(store.read(row)) // 2 * store.read(row)[0].size
        start = content.index(store.read(row).tobytes())
        content[start : start + middle] = bytes(middle)
    assert size * len(store.manifest) < len(content)
    shard.write_bytes(content)
    assert not VolumeStore.open(other).read(3)[:3].any()
    card = volume_card(labels=(Label("First", "A"), Label("Second", "B")))
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "model.safetensors", network(with_outputs(card)))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"data": {"store": "x", "center_slice": 6}}))
    found = {}
    for name, exams in (("one", folder), ("two", other)):
        options = ["--store", str(exams), "--out", str(tmp_path / name), "--config", str(recipe)]
        options += ["--model", str(tmp_path / "model.safetensors"), "--bootstrap.resamples=0"]
        assert main(["evaluate", *options, "--workers=0", "--device=cpu"]) == 0
        found[name] = pd.read_parquet(tmp_path / name / "predictions.parquet")
    pd.testing.assert_frame_equal(found["one"], found["two"])


def _predictions(noise: float, exams: int = 400) -> pd.DataFrame:
    """Of one disease that the noise hides, one that it does not reach, and one that nobody has."""
    draw = np.random.default_rng(1)
    truth = draw.integers(0, 2, exams)
    table = pd.DataFrame({"row": np.arange(exams), "eye": "", "patient": np.arange(exams) // 2})
    table["eye"] = [f"eye {row}" for row in table["row"]]
    table[["truth/A", "truth/B", "truth/C"]] = np.stack([truth, truth, 0 * truth], 1).astype(float)
    table.loc[3, "truth/A"] = np.nan
    table["predicted/A"] = truth + draw.normal(0, noise, exams)
    table["predicted/B"] = truth + np.random.default_rng(2).normal(0, 1, exams)
    table["predicted/C"] = 0.1
    return table


def test_it_is_clearly_worse_where_the_interval_leaves_out_zero(tmp_path, capsys):
    tables = {"volume": _predictions(0.5), "center": _predictions(2.0)}
    for name, table in tables.items():
        (tmp_path / name).mkdir()
        table.to_parquet(tmp_path / name / "predictions.parquet")
    folders = [f"--{name}={tmp_path / name}" for name in tables]
    assert main(["center-slice", *folders, "--resamples=200", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["clearly_worse"] == 1
    assert (found["exams"], found["patients"]) == (400, 200)
    first, second, third = (found["diseases"][name] for name in "ABC")
    assert first["volume"] > first["center"] + 0.1
    assert 0 < first["low"] < first["difference"] < first["high"]
    assert (second["difference"], second["clearly_worse"]) == (0, False)
    assert third["volume"] is None
    assert not third["clearly_worse"]
    assert main(["center-slice", *folders]) == 0
    assert "in 1 diseases" in " ".join(capsys.readouterr().out.split())
    swapped = compare(tables["center"], tables["volume"], resamples=200)
    assert swapped["clearly_worse"] == 0


def test_results_of_other_exams_are_refused(tmp_path, capsys):
    table = _predictions(1.0)
    for other in (table.iloc[:-1], table.iloc[::-1], table.drop(columns="truth/C")):
        with pytest.raises(InputError, match="not of the same exams"):
            compare(table, other.reset_index(drop=True))
    assert main(["center-slice", f"--volume={tmp_path}", f"--center={tmp_path}"]) == 2
    assert "predictions.parquet" in capsys.readouterr().err
