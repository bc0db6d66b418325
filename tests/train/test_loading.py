"""From a store to batches on the device: what they hold, in which order, and after an interruption."""

from __future__ import annotations

import json
import os
import threading

import lightning as L
import numpy as np
import pytest
import torch
import torch.distributed as dist

from octcube_core.checkpoints.card import Architecture
from octcube_core.errors import InputError
from octcube_core.exam import EnFaceImage, OCTVolume
from octcube_core.preprocess import resize_volume
from octcube_core.preprocess_image import prepare_image
from tests.train.tiny_store import SHAPE, make_tiny_store, pixels
from tests.train.two_processes import run
from train.__main__ import main
from train.data.datasets import StoreDataset
from train.data.labels import Labels
from train.data.loader import BATCHES_AHEAD, BatchLoader, TrainingLoader
from train.data.module import StoreData, balancing_weights
from train.data.sampler import EpochSampler, EveryRow
from train.data.store import GROUP, VolumeStore
from train.data.to_device import images_to_input, volumes_to_input

ABSENT = {(2, "OCT"), (3, "IR"), (4, "OCT"), (4, "IR"), (4, "FAF")}
SICK = [1, 0, np.nan, 0, 1, 0, 0, 0, 0, 0, 1, np.nan]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    parent = tmp_path_factory.mktemp("store")
    columns = {"sick": SICK, "old": [0.0, 1.0] * 6}
    return make_tiny_store(parent / "exams", absent=ABSENT, columns=columns)


@pytest.fixture(scope="module")
def store(folder):
    return VolumeStore.open(folder)


def test_an_item_holds_the_row_and_says_what_it_lacks(store):
    table = store.manifest[["sick", "old"]].astype("float32")
    dataset = StoreDataset(store, [5, 2, 3], ["OCT", "IR"], table, lesions=True)
    assert len(dataset) == 3
    item = dataset[2]
    assert int(item["row"]) == 3
    assert item["present"].tolist() == [True, False]
    assert item["volume"].dtype == torch.uint8
    np.testing.assert_array_equal(item["volume"], pixels(3))
    np.testing.assert_array_equal(item["lesions"], pixels(3, "lesions"))
    assert not item["images"]["IR"].any()
    assert item["labels"].tolist() == [0.0, 1.0]
    lacking = dataset[1]
    assert not lacking["volume"].any()
    np.testing.assert_array_equal(lacking["images"]["IR"], pixels(2, "IR"))
    assert lacking["labels"].isnan().tolist() == [True, False]
    assert dataset[1]["patient"] == item["patient"] != dataset[0]["patient"]


def test_a_batch_is_its_items_and_only_what_was_asked_for(store):
    dataset = StoreDataset(store, range(6), ["FAF"])
    batch = dataset.__getitems__([4, 0])
    assert set(batch) == {"row", "patient", "side", "present", "images"}
    assert batch["images"]["FAF"].shape == (2, 12, 14, 3)
    np.testing.assert_array_equal(batch["images"]["FAF"][1], pixels(0, "FAF"))


def test_what_a_store_does_not_have_is_refused(store, tmp_path):
    with pytest.raises(InputError, match="has no ICGA; it has OCT, FAF, IR"):
        StoreDataset(store, [0], ["ICGA"])
    bare = VolumeStore.open(make_tiny_store(tmp_path / "bare", 2, lesions=False))
    with pytest.raises(InputError, match="no lesion masks"):
        StoreDataset(bare, [0], lesions=True)


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_neither_batches_nor_their_order(store, workers):
    dataset = StoreDataset(store, range(12))

    def epoch(workers: int) -> list[dict[str, torch.Tensor]]:
        return list(TrainingLoader(dataset, EpochSampler(12, 2, seed=1), workers))

    alone, helped = epoch(0), epoch(workers)
    assert len(alone) == 6
    for one, other in zip(alone, helped, strict=True):
        assert one["row"].tolist() == other["row"].tolist()
        assert torch.equal(one["volume"], other["volume"])
        assert one["valid"].all()


def test_reading_ahead_is_bounded(store):
    read = []

    class Counting(StoreDataset):
        def __getitems__(self, indices):
            read.append(indices)
            return super().__getitems__(indices)

    loader = BatchLoader(Counting(store, range(12)), EveryRow(12, 1), workers=2)
    batches = iter(loader)
    next(batches)
    batches.close()  # ends the threads; what they had begun is done
    assert 1 <= len(read) <= BATCHES_AHEAD * 2 + 1
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("batches")]


def test_an_error_of_a_worker_stays_one_sentence(tmp_path):
    folder = make_tiny_store(tmp_path / "exams")
    (folder / GROUP / "volumes" / "c" / "0" / "0" / "0" / "0").write_bytes(b"")
    dataset = StoreDataset(VolumeStore.open(folder), range(12))
    with pytest.raises(InputError, match="is cut short") as error:
        list(TrainingLoader(dataset, EpochSampler(12, 2), workers=1))
    assert "\n" not in str(error.value)


def test_validation_marks_what_only_fills_up(store):
    shares = [
        list(BatchLoader(StoreDataset(store, range(7)), EveryRow(7, 2, rank, 2), workers=1))
        for rank in (0, 1)
    ]
    rows = [batch["row"][batch["valid"]] for share in shares for batch in share]
    assert sorted(torch.cat(rows).tolist()) == list(range(7))
    assert sum(int((~batch["valid"]).sum()) for share in shares for batch in share) == 1


class Recorder(L.LightningModule):
    """Notes which rows it is trained on, and keeps a checkpoint of every step."""

    def __init__(self, folder) -> None:
        super().__init__()
        self.folder = folder
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[tuple[int, list[int]]] = []

    def training_step(self, batch, _):
        self.seen.append((self.current_epoch, batch["row"].tolist()))
        return self.weight.sum()

    def on_train_batch_end(self, *_):
        if self.folder is not None:
            self.trainer.save_checkpoint(self.folder / f"{self.global_step}.ckpt")

    def validation_step(self, batch, _):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_goes_on_with_the_batches_it_has_not_seen(folder, tmp_path, workers):
    def train(keep=None, resume=None):
        torch.manual_seed(0)
        recorder = Recorder(keep)
        trainer = L.Trainer(
            max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        )  # fmt: skip
        data = StoreData(str(folder), batch_size=2, workers=workers)
        trainer.fit(recorder, data, ckpt_path=resume)
        return recorder.seen

    whole = train(keep=tmp_path)
    steps = len(whole) // 3
    assert steps == 3  # 9 training exams, two of them without OCT
    assert [epoch for epoch, _ in whole] == [0] * 3 + [1] * 3 + [2] * 3
    assert whole[:3] != [(0, rows) for _, rows in whole[3:6]]
    for step in (1, 2, 3, 4, 8):
        assert train(resume=tmp_path / f"{step}.ckpt") == whole[step:], step


def _rows_of_two(folder: str) -> list[tuple[int, list[int]]]:
    """What one of two processes trains on."""
    rank = str(dist.get_rank())
    os.environ |= {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "1"}
    recorder = Recorder(None)
    trainer = L.Trainer(
        max_epochs=2, accelerator="cpu", devices=2, strategy="ddp", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(recorder, StoreData(folder, ["OCT", "IR"], batch_size=2, workers=0))
    return recorder.seen


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_two_processes_divide_every_batch_among_them(folder):
    first, second = run(_rows_of_two, str(folder))
    assert [epoch for epoch, _ in first] == [epoch for epoch, _ in second] == [0, 0, 1, 1]
    for epoch in (0, 1):
        rows = [
            row
            for seen in (first, second)
            for number, part in seen
            if number == epoch
            for row in part
        ]
        assert len(rows) == len(set(rows)) == 8  # of nine


def test_the_data_module_leaves_out_exams_without_the_modality_or_a_label(folder):
    data = StoreData(
        str(folder), modalities=["OCT", "IR"], labels=Labels("binary", ["sick"]), batch_size=2
    )
    data.setup("fit")
    assert data.training.rows.tolist() == [0, 1, 3, 5, 6, 7, 8]  # 2 has no label, 4 no picture
    assert data.validation.rows.tolist() == [9, 10]
    assert data.volume_shape == SHAPE
    assert data.label_table.columns.tolist() == ["sick"]


def test_rare_labels_may_be_drawn_as_often_as_common_ones(folder):
    data = StoreData(
        str(folder), labels=Labels("binary", ["sick"]), batch_size=2, balanced=True, workers=0
    )
    data.setup("fit")
    loader = data.train_dataloader()
    sick = [bool(label) for _ in range(200) for batch in loader for label in batch["labels"]]
    assert np.mean(sick) == pytest.approx(0.5, abs=0.06)
    with pytest.raises(InputError, match=r"needs data\.labels"):
        StoreData(str(folder), balanced=True)


def test_balancing_ignores_unknown_labels():
    labels = np.array([[1, 0], [0, np.nan], [0, 1], [0, 1]], np.float32)
    weights = balancing_weights(labels, "binary")
    assert weights == pytest.approx([(4 + 3) / 2, 4 / 3, (4 / 3 + 3 / 2) / 2, (4 / 3 + 3 / 2) / 2])
    with pytest.raises(InputError, match="binary or multi-class"):
        balancing_weights(labels, "regression")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"batch_size": 50}, "7 training exams, fewer than a batch of 50"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"modalities": ["IR", "CFP"]}, "has no CFP"),
        ({"labels": Labels("binary", ["FLU"])}, "'FLU'"),
    ],
)
def test_data_that_cannot_work_is_refused(folder, options, sentence):
    def load():
        data = StoreData(str(folder), **options)
        data.setup("fit")
        data.train_dataloader()

    with pytest.raises(InputError, match=sentence):
        load()


def test_a_split_without_exams_is_refused(folder):
    data = StoreData(str(folder), batch_size=2)
    data.setup("fit")
    with pytest.raises(InputError, match="no test exams"):
        data.test_dataloader()


@pytest.mark.parametrize("shape", [(6, 32, 48), (3, 16, 20), (9, 8, 10)])
def test_volumes_become_what_the_viewer_would_feed(shape):
    stored = np.stack([pixels(row) for row in (0, 1)])
    made = volumes_to_input(torch.from_numpy(stored), shape)
    assert made.shape == (2, 1, *shape)
    assert made.dtype == torch.float32
    for volume, expected in zip(made, stored, strict=True):
        torch.testing.assert_close(
            volume[0], resize_volume(OCTVolume(expected), shape), rtol=0, atol=2e-6
        )


@pytest.mark.parametrize("modality", ["IR", "FAF"])
@pytest.mark.parametrize("size", [(16, 16), (32, 16), (8, 24), (10, 14)])
def test_images_become_what_the_viewer_would_feed(modality, size):
    stored = pixels(0, modality)
    made = images_to_input(torch.from_numpy(stored[None]), size)
    card = Architecture(
        embed_dim=8, depth=1, num_heads=1, cube=(1, 2, 2), grid=(1, size[0] // 2, size[1] // 2),
        mlp_dim=8, outputs=1, final_residual=True,
    )  # fmt: skip
    expected, _ = prepare_image(EnFaceImage(stored, modality), card)
    # Pillow's fixed-point filter may round to the next of 256 grey values.
    torch.testing.assert_close(made, expected, rtol=0, atol=1.01 / 255 / 0.224)


def test_loading_is_measured(capsys):
    arguments = ["benchmark", "--data", "--json", "--n", "4", "--batch-size", "2", "--rounds", "1"]
    assert main([*arguments, "--size", "6", "32", "32"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["volumes"] == 4
    assert set(result["codecs"]) == {"none", "zstd"}
    for figures in result["codecs"].values():
        assert figures["ratio"] == pytest.approx(figures["read_ms"] / figures["mapped_ms"])
        assert figures["volumes_per_s"] > 0
    assert result["codecs"]["zstd"]["bytes_per_voxel"] < result["codecs"]["none"]["bytes_per_voxel"]
    assert main([*arguments, "--rounds", "0"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
