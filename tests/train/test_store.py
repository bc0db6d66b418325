"""A store gives back what was put in, is an ordinary zarr group, and says in one sentence what is wrong with it."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
import zarr

from octcube_core.errors import InputError
from tests.train.tiny_store import IMAGES, SHAPE, make_tiny_store, pixels
from train.data.store import GROUP, MANIFEST, SHARD, StoreLayout, VolumeStore, new_store

COUNT = SHARD + 3  # two shards, the second one not full


@pytest.fixture(scope="module", params=["none", "zstd"])
def folder(request, tmp_path_factory):
    parent = tmp_path_factory.mktemp("store")
    return make_tiny_store(parent / "exams", COUNT, codec=request.param)


def test_what_goes_in_comes_out(folder):
    store = VolumeStore.open(folder)
    assert store.volume_shape == SHAPE
    assert store.modalities == ("OCT", "FAF", "IR")
    assert store.image_shapes == IMAGES
    for row in (0, 1, SHARD - 1, SHARD, COUNT - 1):
        np.testing.assert_array_equal(store.read(row), pixels(row))
        np.testing.assert_array_equal(store.lesions(row), pixels(row, "lesions"))
        for modality in IMAGES:
            np.testing.assert_array_equal(store.image(row, modality), pixels(row, modality))


def test_zarr_opens_it(folder):
    group = zarr.open_group(folder / GROUP, mode="r")
    assert group["volumes"].shape == (COUNT, *SHAPE)
    assert group["volumes"].chunks == (1, *SHAPE)
    np.testing.assert_array_equal(group["volumes"][SHARD + 1], pixels(SHARD + 1))
    np.testing.assert_array_equal(group["images/IR"][5], pixels(5, "IR"))


@pytest.mark.parametrize(
    "layout",
    [
        {"chunks": (1, *SHAPE)},
        {"chunks": (2, *SHAPE), "shards": (32, *SHAPE), "compressors": None},
        {"chunks": (1, *SHAPE), "shards": (32, *SHAPE), "compressors": zarr.codecs.GzipCodec()},
        {"chunks": (1, 1, 8, 20), "shards": (32, 3, 16, 20)},
    ],
)
def test_any_other_layout_is_read_too(tmp_path, layout):
    folder = make_tiny_store(tmp_path / "exams", COUNT)
    shutil.rmtree(folder / GROUP / "volumes")
    group = zarr.open_group(folder / GROUP, mode="r+")
    array = group.create_array("volumes", shape=(COUNT, *SHAPE), dtype="uint8", **layout)
    array[:] = np.stack([pixels(row) for row in range(COUNT)])
    store = VolumeStore.open(folder)
    for row in (0, 7, COUNT - 1):
        np.testing.assert_array_equal(store.read(row), pixels(row))


def test_what_an_exam_lacks_reads_as_zeros(tmp_path):
    absent = {(2, "OCT"), (3, "IR")}
    store = VolumeStore.open(make_tiny_store(tmp_path / "exams", absent=absent, lesions=False))
    assert not store.read(2).any()
    assert not store.image(3, "IR").any()
    assert store.image(2, "IR").any()
    assert store.lesions(0) is None
    assert store.present[2].tolist() == [False, True, True]
    assert store.manifest["modalities"][3] == ["OCT", "FAF"]


def test_a_lesionless_shard_takes_no_space_and_reads_as_zeros(tmp_path):
    folder = make_tiny_store(tmp_path / "exams")
    group = zarr.open_group(folder / GROUP, mode="r+")
    group["lesions"][:] = 0
    files = [path for path in (folder / GROUP / "lesions").rglob("*") if path.is_file()]
    assert [file.name for file in files] == ["zarr.json"]
    assert not VolumeStore.open(folder).lesions(1).any()


def test_a_store_is_never_overwritten(tmp_path):
    folder = make_tiny_store(tmp_path / "exams")
    with pytest.raises(InputError, match="exists already"):
        make_tiny_store(folder)
    np.testing.assert_array_equal(VolumeStore.open(folder).read(1), pixels(1))


def test_a_failed_run_leaves_nothing(tmp_path):
    def fail_in_the_middle():
        with new_store(tmp_path / "exams", StoreLayout(4, SHAPE)) as folder:
            assert (folder / GROUP).is_dir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_in_the_middle()
    assert list(tmp_path.iterdir()) == []


def _without_manifest(folder):
    (folder / MANIFEST).unlink()


def _manifest_is_garbage(folder):
    (folder / MANIFEST).write_bytes(b"PAR1 but not really")


def _shorter_manifest(folder):
    pd.read_parquet(folder / MANIFEST).iloc[:-1].to_parquet(folder / MANIFEST)


def _no_patients(folder):
    pd.read_parquet(folder / MANIFEST).drop(columns="patient").to_parquet(folder / MANIFEST)


def _images_of_nowhere(folder):
    table = pd.read_parquet(folder / MANIFEST)
    table["modalities"] = [["OCT", "ICGA"]] * len(table)
    table.to_parquet(folder / MANIFEST)


def _no_volumes(folder):
    shutil.rmtree(folder / GROUP / "volumes")


def _broken_metadata(folder):
    (folder / GROUP / "volumes" / "zarr.json").write_text("{")


def _sixteen_bits(folder):
    _no_volumes(folder)
    group = zarr.open_group(folder / GROUP, mode="r+")
    group.create_array("volumes", shape=(COUNT, *SHAPE), dtype="uint16")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (_without_manifest, f"no finished store .no {MANIFEST}"),
        (_manifest_is_garbage, "no readable Parquet file"),
        (_shorter_manifest, f"{COUNT - 1} rows but its volumes array {COUNT}"),
        (_no_patients, "no column 'patient'"),
        (_images_of_nowhere, "images of ICGA"),
        (_no_volumes, "volumes is no readable zarr array"),
        (_broken_metadata, "volumes is no readable zarr array"),
        (_sixteen_bits, "volumes holds uint16"),
    ],
)
def test_a_bad_store_is_refused_when_opened(folder, tmp_path, damage, sentence):
    copied = shutil.copytree(folder, tmp_path / "exams")
    damage(copied)
    with pytest.raises(InputError, match=sentence) as error:
        VolumeStore.open(copied)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda stored: None, "is missing"),
        (lambda stored: b"", "is cut short"),
        (lambda stored: stored[: len(stored) // 2], "is cut short"),
        (lambda stored: stored[:-20] + b"?" + stored[-19:], "fails the checksum"),
        (lambda stored: stored[1000:], "is cut short"),
    ],
)
def test_a_damaged_shard_is_named(folder, tmp_path, damage, sentence):
    copied = shutil.copytree(folder, tmp_path / "exams")
    file = copied / GROUP / "volumes" / "c" / "1" / "0" / "0" / "0"
    stored = damage(file.read_bytes())
    file.unlink()
    if stored is not None:
        file.write_bytes(stored)
    store = VolumeStore.open(copied)
    np.testing.assert_array_equal(store.read(0), pixels(0))
    with pytest.raises(InputError, match=rf"{GROUP}/volumes/c/1/0/0/0 .*{sentence}"):
        store.read(COUNT - 1)


def test_damaged_compressed_bytes_are_found(tmp_path):
    folder = make_tiny_store(tmp_path / "exams", codec="zstd")
    file = folder / GROUP / "volumes" / "c" / "0" / "0" / "0" / "0"
    stored = file.read_bytes()
    file.write_bytes(bytes(100) + stored[100:])
    with pytest.raises(InputError, match="cannot be decompressed"):
        VolumeStore.open(folder).read(0)
