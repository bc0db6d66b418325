"""Exams of several formats become a store of what the viewer would feed, and nothing of who the patients are."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from octcube_core.checkpoints.card import Architecture, ModelCard
from octcube_core.exam import EnFaceImage, Exam, OCTVolume, Patient
from octcube_core.identity import patient_hash
from octcube_core.models.random_weights import random_card
from octcube_core.preprocess import prepare
from octcube_core.preprocess_image import prepare_image
from octcube_core.readers import find_exams, read_exam
from octcube_core.writers import write_exam
from tests.train.in_process import InProcess
from train.__main__ import main
from train.data.module import StoreData
from train.data.prepare import build, exam_rows
from train.data.store import VolumeStore
from train.engine.card_in_checkpoint import with_origin

SIZE, IMAGE_SIZE = (6, 32, 32), (48, 32)
OPTIONS = ["--size", "6", "32", "32", "--image-size", "48", "32"]
SECRETS = ("zebedee", "quagga", "pid-993311", "19431127", "1943-11-27", "20240229", "2024-02-29")
SECRETS += ("20210115", "2021-01-15", "id-55")
RNG = np.random.default_rng(4)


def exam(laterality="OD", date="2024-02-29", **changes) -> Exam:
    """Ten random B-scans of one patient, with an infrared image."""
    patient = Patient("Zebedee^Quagga", "PID-993311", "1943-11-27", date)
    voxels = RNG.integers(0, 256, (10, 40, 50), np.uint8)
    image = EnFaceImage(RNG.integers(0, 256, (60, 70), np.uint8), "IR", (0.01, 0.01))
    made = Exam(
        OCTVolume(voxels, (0.12, 0.004, 0.012)),
        (image,),
        laterality=laterality,
        scan_pattern="raster",
        device="Heidelberg Engineering Spectralis",
        patient=patient,
    )
    return replace(made, **changes)


def write_dicom(made: Exam, folder: Path) -> None:
    write_exam(made, folder, "dicom", keep_identity=True)


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """Two patients, one with three exams of two eyes; a copy, a damaged file, a circle, a black scan, loose arrays."""
    top = tmp_path_factory.mktemp("archive")
    write_dicom(exam(), top / "a1")
    write_dicom(exam(date="2021-01-15"), top / "a2")
    write_dicom(exam("OS"), top / "a3")
    other = exam(patient=Patient(id="ID-55", exam_date="2021-01-15"), enface=())
    write_dicom(other, top / "b1")
    (top / "copies").mkdir()
    shutil.copy(next(top.glob("b1/*.dcm")), top / "copies" / "again.dcm")
    (top / "damaged").mkdir()
    (top / "damaged" / "cut.dcm").write_bytes(next(top.glob("b1/*.dcm")).read_bytes()[:900])
    np.save(top / "one.npy", RNG.integers(0, 256, (7, 30, 40), np.uint8))
    np.savez(top / "circle.npz", volume=RNG.integers(0, 256, (1, 30, 40)), scan_pattern="circle")
    np.save(top / "black.npy", np.zeros((5, 30, 40), np.uint8))
    return top


@pytest.fixture(scope="module")
def prepared(archive, tmp_path_factory) -> Path:
    store = tmp_path_factory.mktemp("prepared") / "store"
    salt = store.with_name("salt")
    command = [str(archive), "--store", str(store), "--salt-file", str(salt), *OPTIONS]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "OrderedPool", InProcess)
        assert main(["prepare", *command, "--workers", "2"]) == 0
    return store


@pytest.fixture
def in_process(monkeypatch):
    monkeypatch.setattr(build, "OrderedPool", InProcess)


@pytest.fixture(scope="module")
def manifest(prepared) -> pd.DataFrame:
    return VolumeStore.open(prepared).manifest


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_every_readable_exam_is_a_row_and_every_other_an_error(prepared, manifest):
    assert len(manifest) == 6
    errors = pd.read_parquet(prepared / "errors.parquet")
    reasons = dict(zip(errors["source"].str.rsplit("/").str[-1], errors["reason"], strict=True))
    assert set(reasons) == {"again.dcm", "cut.dcm", "circle.npz"}
    assert "same scan" in reasons["again.dcm"]
    hashed = patient_hash("b1", VolumeStore.open(prepared).salt)
    assert f"/{hashed}/" in reasons["again.dcm"]
    assert "circle" in reasons["circle.npz"]
    assert all(reason.endswith(".") and "\n" not in reason for reason in reasons.values())


def test_the_visits_of_an_eye_are_numbered_by_date(manifest):
    patient = manifest[manifest["modalities"].map(lambda found: "IR" in found)]
    assert patient["patient"].nunique() == 1
    assert patient["split"].nunique() == 1
    assert list(zip(patient["laterality"], patient["visit"], strict=True)) == [
        ("OD", 2),
        ("OD", 1),
        ("OS", 1),
    ]
    assert patient["eye"].nunique() == 2


def test_the_hash_joins_with_the_salt(prepared, manifest):
    salt = prepared.with_name("salt").read_text().strip()
    assert (prepared / "salt.txt").read_text().strip() == salt
    assert VolumeStore.open(prepared).salt == salt
    assert patient_hash("PID-993311", salt) in set(manifest["patient"])
    assert patient_hash("ID-55", salt) in set(manifest["patient"])


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_only_the_owner_may_read_the_salt(prepared):
    for path in (prepared / "salt.txt", prepared.with_name("salt")):
        assert path.stat().st_mode & 0o077 == 0


def test_no_byte_of_the_store_tells_who_the_patient_is(archive, prepared):
    stored = b"".join(content(prepared).values()).lower()
    source = b"".join(content(archive).values()).lower()
    assert b"quagga" in source
    assert b"19431127" in source
    for secret in SECRETS:
        assert secret.encode() not in stored
        assert secret.encode("utf-16-le") not in stored


@pytest.mark.usefixtures("in_process")
def test_an_error_names_its_path_but_not_a_known_patient(tmp_path):
    circle = exam(scan_pattern="circle", enface=())
    top = tmp_path / "exams"
    write_dicom(exam(), top / "fine")
    write_dicom(circle, top / "PID-993311" / "of 2024-02-29")
    store = tmp_path / "store"
    assert main(["prepare", str(top), "--store", str(store), *OPTIONS, "--workers", "1"]) == 0
    (source,) = pd.read_parquet(store / "errors.parquet")["source"]
    hashed = VolumeStore.open(store).manifest["patient"].item()
    assert source.startswith(f"{top}/{hashed}/of ...")


@pytest.mark.usefixtures("in_process")
def test_a_folder_that_may_be_called_after_its_patient_is_told_to_the_user_alone(tmp_path, capsys):
    top = tmp_path / "exams"
    for name in ("Quagga Zebedee", "Other Person"):
        (top / name).mkdir(parents=True)
        np.save(top / name / "fine.npy", RNG.integers(0, 256, (3, 30, 40), np.uint8))
    (top / "Quagga Zebedee" / "bad.npy").write_bytes(b"nothing")
    store = tmp_path / "store"
    command = ["prepare", str(top), "--store", str(store), *OPTIONS]
    assert main(command) == 0
    assert "Quagga" not in capsys.readouterr().err
    stored = b"".join(content(store).values())
    assert b"Quagga" not in stored
    assert b"Zebedee" not in stored
    for _ in range(2):  # of the finished store too
        assert main([*command, "--list-errors"]) == 0
        assert f"{top}/Quagga Zebedee/bad.npy: " in capsys.readouterr().err


@pytest.mark.usefixtures("in_process")
def test_an_error_of_the_program_is_said_loudly(archive, tmp_path, monkeypatch, capsys):
    make = exam_rows.luminance

    def broken(rgb):
        if rgb.mean() > 0:
            raise NameError("quagga")
        return make(rgb)

    monkeypatch.setattr(exam_rows, "luminance", broken)
    store = tmp_path / "store"
    command = ["prepare", str(archive), "--store", str(store), *OPTIONS]
    for _ in range(2):
        with pytest.raises(SystemExit, match="1"):
            main(command)
        said = capsys.readouterr().err.splitlines()[-1]
        assert said.startswith("3 of them failed in a way that nobody foresaw")
        assert "NameError in train.data.prepare.exam_rows, line" in said
        assert "quagga" not in said
    assert len(VolumeStore.open(store).manifest) == 3
    errors = pd.read_parquet(store / "errors.parquet")
    assert errors["unexpected"].str.startswith("NameError in ").sum() == 3
    assert b"quagga" not in b"".join(content(store).values())


def test_volumes_are_what_the_viewer_feeds(archive, prepared, manifest):
    store = VolumeStore.open(prepared)
    card = ModelCard("toy", "1", Architecture(8, 1, 1, (3, 16, 16), (2, 2, 2), 16, True))
    listed = [
        entry for entry in find_exams(archive) if entry.path.parent.name in ("a1", "a2", "a3")
    ]
    rows = manifest.index[manifest["modalities"].map(lambda found: "IR" in found)]
    assert len(listed) == len(rows) == 3
    for entry, row in zip(listed, rows, strict=True):
        expected, _ = prepare(entry.read(), card)
        difference = np.abs(store.read(row) / 255 - expected[0, 0].numpy())
        assert difference.max() <= 0.5 / 255 + 1e-6


def test_images_are_what_the_viewer_feeds(archive, prepared, manifest):
    store = VolumeStore.open(prepared)
    assert store.modalities == ("OCT", "IR")
    assert store.image_shapes == {"IR": IMAGE_SIZE}
    planar = Architecture(8, 1, 1, (3, 16, 16), (1, 3, 2), 16, True, planar=True)
    image = read_exam(next(archive.glob("a1/*.dcm"))).image("IR")
    expected, _ = prepare_image(image, planar)
    red = expected[0, 0].numpy() * 0.229 + 0.485
    row = manifest.index[manifest["modalities"].map(lambda found: "IR" in found)][0]
    assert np.abs(store.image(row, "IR") / 255 - red).max() < 1e-5


def test_spacing_and_device_are_those_of_the_exam(manifest):
    known = manifest[manifest["laterality"].notna()]
    assert np.allclose(
        known[["spacing_z_mm", "spacing_y_mm", "spacing_x_mm"]], (0.12, 0.004, 0.012)
    )
    assert known["device"].str.contains("Spectralis").all()
    unknown = manifest[manifest["laterality"].isna()]
    assert unknown[["spacing_z_mm", "spacing_y_mm", "spacing_x_mm"]].isna().all(axis=None)


def test_a_black_scan_reads_as_black(prepared, manifest):
    store = VolumeStore.open(prepared)
    dark = [row for row in manifest.index if not store.read(row).any()]
    assert len(dark) == 1


def test_the_same_command_says_that_the_store_is_finished(archive, prepared, capsys):
    before = content(prepared)
    command = ["prepare", str(archive), "--store", str(prepared), *OPTIONS]
    assert main(command) == 0
    assert "finished already" in capsys.readouterr().out
    assert main([*command, "--seed", "3"]) == 2
    assert "other sources or options" in capsys.readouterr().err
    assert content(prepared) == before


def test_the_result_does_not_depend_on_the_number_of_workers(archive, prepared, tmp_path):
    store = tmp_path / "store"
    command = ["prepare", str(archive), "--store", str(store), *OPTIONS, "--workers", "2"]
    assert main([*command, "--salt-file", str(prepared.with_name("salt"))]) == 0
    assert content(store) == content(prepared)  # which one process made
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


@pytest.mark.usefixtures("in_process")
def test_a_wrong_source_or_option_is_one_sentence(tmp_path, capsys):
    np.save(tmp_path / "bad.npy", np.zeros(5))
    store = ["--store", str(tmp_path / "store")]
    for command, told in (
        ([str(tmp_path / "nowhere"), *store], "does not exist"),
        ([str(tmp_path), *store, "--modalities", "XRAY"], "XRAY"),
        ([str(tmp_path), *store, "--split", "0.9", "0.9", "0.1"], "--split"),
        ([str(tmp_path), *store, "--names", "("], "no regular expression"),
        ([str(tmp_path), *store, "--workers", "1"], "None of the 1 exams"),
    ):
        assert main(["prepare", *command]) == 2
        assert told in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["bad.npy"]


def test_the_recipe_is_written_down(prepared):
    stated = json.loads((prepared / "preparation.json").read_text())
    assert (tuple(stated["size"]), stated["cross_device"]) == (SIZE, "auto")


def test_a_model_trained_on_the_store_says_how_its_volumes_were_prepared(prepared):
    data = StoreData(prepared, batch_size=1)
    data.setup("fit")
    for trained_on in ("unknown", "other eyes"):
        card = replace(random_card(2, 16, 2, SIZE), trained_on=trained_on)
        assert card.cross_device == "off"
        assert with_origin(card, data).cross_device == "auto"


@pytest.mark.usefixtures("in_process")
def test_all_real_files_in_one_run(tmp_path):
    beside = Path(__file__).parents[2] / "../shared/data"
    real = Path(os.environ.get("OCTCUBE_TEST_DATA", beside)).resolve()
    if not real.is_dir():
        pytest.skip(f"real test data not found at {real}; set OCTCUBE_TEST_DATA")
    store = tmp_path / "store"
    assert main(["prepare", str(real), "--store", str(store), *OPTIONS, "--workers", "1"]) == 0
    opened = VolumeStore.open(store)
    errors = pd.read_parquet(store / "errors.parquet")
    assert len(opened.manifest) + len(errors) == len(list(find_exams(real)))
    assert any(source.endswith("truncated.E2E") for source in errors["source"])
    other = opened.manifest[opened.manifest["cross_device"]]
    assert other["device"].str.contains("Topcon").all()
    assert {"OD", "OS"} <= set(opened.manifest["laterality"])
