"""What `octcube analyze` leaves on disk."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from aligned import GROWTH, SIMILARITY, aligned_analysis, bare_analysis
from PIL import Image

from octcube_core.errors import InputError
from octcube_core.exam import Exam, OCTVolume
from octcube_core.export import result_folder, write_results
from octcube_core.results import Analysis
from octcube_core.saliency_file import write_enface_saliency, write_saliency

OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"


@pytest.fixture
def written(tmp_path: Path, known_exam: Exam, known_analysis: Analysis) -> Path:
    write_results(tmp_path, known_exam, known_analysis)
    return tmp_path


def test_scores_say_what_was_found_by_what_and_that_it_is_research(written: Path) -> None:
    scores = json.loads((written / "scores.json").read_text(encoding="utf-8"))
    assert scores["disclaimer"] == "Research use only; not for diagnosis"
    assert (scores["model"]["name"], scores["model"]["version"]) == ("toy", "1.2")
    assert scores["model"]["synthetic"] is True
    amd, dme, erm = scores["diseases"]
    assert amd == {
        "name": "Age-related macular degeneration",
        "abbreviation": "AMD",
        "icd10": ["H35.3"],
        "probability": 0.45,
        "threshold": 0.4,
        "present": True,
        "key_bscans": [2],
    }
    assert (dme["present"], dme["key_bscans"][0]) == (True, 6)
    assert (erm["present"], erm["key_bscans"]) == (False, [])
    assert scores["normal_probability"] == 0.09
    assert scores["exam"]["laterality"] == "OS"
    assert scores["exam"]["spacing_mm"] == [0.12, 0.004, 0.012]
    assert scores["run"]["device"] == "CPU"
    assert scores["run"]["precision"] == "fp32"
    assert (scores["run"]["saliency"], scores["run"]["layer"]) == ("Grad-CAM++", "norm1")
    assert scores["run"]["timings_s"] == {"forward": 0.25}
    assert scores["run"]["warnings"] == ["The analysis has a warning."]
    assert scores["exam"]["warnings"] == ["The exam has a warning."]
    assert (scores["measurements"], scores["embeddings"], scores["run"]["notes"]) == ([], {}, [])


def _named_files(scores: dict) -> list[str]:
    groups = [
        names if isinstance(names, dict) else {"": names} for names in scores["files"].values()
    ]
    return ["scores.json", *(name for group in groups for name in group.values() if name)]


def test_every_file_is_named_and_pictures_are_of_the_diseases_present(written: Path) -> None:
    scores = json.loads((written / "scores.json").read_text(encoding="utf-8"))
    assert scores["files"]["views"] == {"DME": "views_DME.png", "AMD": "views_AMD.png"}
    assert sorted(_named_files(scores)) == sorted(path.name for path in written.iterdir())
    with Image.open(written / "views_AMD.png") as sheet:
        assert min(sheet.size) > 200


def test_without_a_disease_present_there_is_a_picture_of_the_likeliest(
    tmp_path: Path, known_exam: Exam, known_analysis: Analysis
) -> None:
    absent = tuple(dataclasses.replace(score, threshold=0.95) for score in known_analysis.scores)
    write_results(tmp_path, known_exam, dataclasses.replace(known_analysis, scores=absent))
    assert [path.name for path in tmp_path.glob("views_*")] == ["views_DME.png"]


def test_at_most_three_diseases_have_pictures(
    tmp_path: Path, known_exam: Exam, known_analysis: Analysis
) -> None:
    scores = tuple(
        dataclasses.replace(known_analysis.scores[0], abbreviation=name, probability=probability)
        for name, probability in (("A", 0.5), ("B", 0.9), ("C", 0.6), ("D", 0.7))
    )
    analysis = dataclasses.replace(
        known_analysis, scores=scores, saliency=np.ones((4, 4, 2, 3), np.float32)
    )
    write_results(tmp_path, known_exam, analysis)
    names = {path.name for path in tmp_path.glob("views_*")}
    assert names == {"views_B.png", "views_D.png", "views_C.png"}


def test_a_models_names_cannot_lead_out_of_the_folder_or_over_each_other(
    tmp_path: Path, known_exam: Exam, known_analysis: Analysis
) -> None:
    names = ("../../A", "a", "A")
    scores = tuple(
        dataclasses.replace(score, abbreviation=name, threshold=0.0)
        for score, name in zip(known_analysis.scores, names, strict=True)
    )
    (tmp_path / "in").mkdir()
    write_results(tmp_path / "in", known_exam, dataclasses.replace(known_analysis, scores=scores))
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    sheets = [path.name.lower() for path in (tmp_path / "in").glob("views_*.png")]
    assert len(set(sheets)) == 3


def test_an_aligned_models_measurements_maps_and_embeddings_are_written(
    tmp_path: Path, known_exam: Exam, known_analysis: Analysis
) -> None:
    analysis = aligned_analysis(known_analysis)
    write_results(tmp_path, known_exam, analysis)
    scores = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert (scores["diseases"], scores["normal_probability"]) == ([], None)
    assert scores["measurements"][0] == {
        "name": "Similarity of OCT and IR",
        "abbreviation": SIMILARITY,
        "value": 0.3125,
        "unit": "",
        "key_bscans": [2],
    }
    assert scores["measurements"][1]["unit"] == "mm²/year"
    assert scores["measurements"][1]["key_bscans"] == []
    assert scores["embeddings"] == {"OCT": {"features": 8}, "IR": {"features": 6}}
    assert scores["run"]["notes"] == ["Ran on the CPU, as the GPU's memory was full."]
    files = scores["files"]
    assert sorted(_named_files(scores)) == sorted(path.name for path in tmp_path.iterdir())
    assert set(files["views"]) == {SIMILARITY, GROWTH}
    for modality, name in files["embeddings"].items():
        np.testing.assert_array_equal(np.load(tmp_path / name), analysis.embeddings[modality])
    maps = tifffile.imread(tmp_path / files["enface_saliency"]["IR"])
    np.testing.assert_array_equal(maps, analysis.enface["IR"].maps)


def test_an_encoders_result_is_its_embedding(
    tmp_path: Path, known_exam: Exam, known_analysis: Analysis
) -> None:
    write_results(tmp_path, known_exam, bare_analysis(known_analysis))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["embedding_OCT.npy", "scores.json"]
    scores = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert scores["files"]["saliency"] is None
    assert scores["files"]["montage"] is None


def test_a_salient_patch_lies_on_the_image_in_micrometres(
    tmp_path: Path, known_exam: Exam, known_analysis: Analysis
) -> None:
    """Patches are 25 pixels of 10 um; the model's part begins at column 4.7, so the first is centred at 16.9."""
    write_enface_saliency(
        tmp_path / "maps.ome.tif", known_exam, aligned_analysis(known_analysis), "IR"
    )
    pixels, planes = _pixels_and_planes(tmp_path / "maps.ome.tif")
    assert float(pixels["PhysicalSizeX"]) == pytest.approx(16 * 60 / 38 * 10)
    assert float(pixels["PhysicalSizeY"]) == pytest.approx(250)
    assert float(planes[0]["PositionY"]) == pytest.approx((12.5 - 0.5) * 10)
    assert float(planes[0]["PositionX"]) == pytest.approx(((3 + 8) * 60 / 38 - 0.5) * 10)
    xml = ElementTree.fromstring(tifffile.TiffFile(tmp_path / "maps.ome.tif").ome_metadata)
    assert [channel.get("Name") for channel in xml.iter(f"{OME}Channel")] == [SIMILARITY, GROWTH]


def test_no_file_holds_the_patient_or_the_path(
    tmp_path: Path, known_exam: Exam, known_analysis: Analysis
) -> None:
    exam = dataclasses.replace(known_exam, source=Path("/clinic/Walrus_Wendy/scan.dcm"))
    write_results(tmp_path, exam, aligned_analysis(known_analysis))
    files = list(tmp_path.iterdir())
    suffixes = {".json", ".tif", ".png", ".npy", ".html", ".pdf"}  # of the PDF, see test_report.py
    assert {file.suffix for file in files} == suffixes
    secrets = [value for value in dataclasses.astuple(exam.patient) if value]
    assert len(secrets) == 4
    for file in files:
        content = file.read_bytes()
        for secret in (*secrets, "Zebedee", "Walrus", "clinic"):
            assert secret.encode() not in content, f"{file.name} holds {secret}"


def test_saliency_opens_with_its_axes_values_and_channel_names(
    written: Path, known_analysis: Analysis
) -> None:
    with tifffile.TiffFile(written / "saliency.ome.tif") as file:
        series = file.series[0]
        assert series.axes == "CZYX"
        np.testing.assert_array_equal(series.asarray(), known_analysis.saliency)
        xml = ElementTree.fromstring(file.ome_metadata)
    assert [channel.get("Name") for channel in xml.iter(f"{OME}Channel")] == ["AMD", "DME", "ERM"]
    description = xml.findtext(f"{OME}Image/{OME}Description")
    assert "toy 1.2 (synthetic)" in description
    assert "not for diagnosis" in description


def _pixels_and_planes(path: Path) -> tuple[dict[str, str], list[dict[str, str]]]:
    xml = ElementTree.fromstring(tifffile.TiffFile(path).ome_metadata)
    return next(xml.iter(f"{OME}Pixels")).attrib, [p.attrib for p in xml.iter(f"{OME}Plane")]


def test_a_salient_token_lies_on_its_tissue_in_micrometres(
    written: Path, known_analysis: Analysis
) -> None:
    """Token (1, 0, 2) covers voxels 2-3, 0-31 and 64-95: its centre is voxel (2.5, 15.5, 79.5)."""
    pixels, planes = _pixels_and_planes(written / "saliency.ome.tif")
    maps = tifffile.imread(written / "saliency.ome.tif")
    disease, z, y, x = np.argwhere(maps == 1)[0]
    plane = planes[disease * 4 + z]
    assert (plane["TheC"], plane["TheZ"]) == ("0", "1")
    assert {pixels[f"PhysicalSize{axis}Unit"] for axis in "XYZ"} == {"µm"}
    place = [
        float(plane["PositionZ"]),
        float(plane["PositionY"]) + y * float(pixels["PhysicalSizeY"]),
        float(plane["PositionX"]) + x * float(pixels["PhysicalSizeX"]),
    ]
    np.testing.assert_allclose(place, np.array([2.5, 15.5, 79.5]) * [120, 4, 12])
    assert float(pixels["PhysicalSizeZ"]) == pytest.approx(240)


def test_an_unknown_spacing_stays_unknown(
    tmp_path: Path, known_exam: Exam, known_analysis: Analysis
) -> None:
    volume = OCTVolume(known_exam.volume.voxels, (None, 0.004, None))
    exam = dataclasses.replace(known_exam, volume=volume)
    write_saliency(tmp_path / "saliency.ome.tif", exam, known_analysis)
    pixels, _ = _pixels_and_planes(tmp_path / "saliency.ome.tif")
    assert float(pixels["PhysicalSizeY"]) == pytest.approx(128)
    assert "PhysicalSizeX" not in pixels
    assert "PhysicalSizeZ" not in pixels
    xml = ElementTree.fromstring(tifffile.TiffFile(tmp_path / "saliency.ome.tif").ome_metadata)
    notes = {entry.get("K"): entry.text for entry in xml.iter(f"{OME}M")}
    assert notes["TokenStepVoxelsZYX"] == "2 32 32"
    assert notes["FirstTokenVoxelZYX"] == "0.5 15.5 15.5"


def _tree(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_results_replace_those_before_and_leave_other_files(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "scores.json").write_text("old")
    (out / "notes.txt").write_text("mine")
    with result_folder(out) as folder:
        (folder / "scores.json").write_text("new")
        assert (out / "scores.json").read_text() == "old"
    assert _tree(tmp_path) == {"out/scores.json": "new", "out/notes.txt": "mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_an_interrupt_leaves_everything_as_it_was(
    tmp_path: Path, existing: bool, stop: type[BaseException]
) -> None:
    out = tmp_path / "out"
    if existing:
        out.mkdir()
        (out / "scores.json").write_text("old")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(stop), result_folder(out) as folder:  # noqa: PT012
        (folder / "scores.json").write_text("half")
        raise stop
    assert sorted(tmp_path.rglob("*")) == before
    if existing:
        assert (out / "scores.json").read_text() == "old"


def test_a_new_folder_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").mkdir()
    with result_folder(tmp_path / "deep" / "out") as folder:
        (folder / "scores.json").write_text("new")
    usual = (tmp_path / "usual").stat().st_mode
    assert (tmp_path / "deep" / "out").stat().st_mode == usual


def test_results_go_into_a_relative_folder_and_into_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    for out in (Path("results"), Path()):
        with result_folder(out) as folder:
            (folder / "scores.json").write_text("new")
    assert _tree(tmp_path) == {"work/scores.json": "new", "work/results/scores.json": "new"}


def test_a_place_that_takes_no_results_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="is a file"), result_folder(tmp_path / "file"):
        pytest.fail("the block must not run")
    with pytest.raises(InputError, match="Cannot write"), result_folder(tmp_path / "file" / "out"):
        pytest.fail("the block must not run")
    assert _tree(tmp_path) == {"file": "mine"}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_read_only_folder_is_refused_before_the_work(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(InputError, match="Cannot write"), result_folder(tmp_path / "out"):
            pytest.fail("the block must not run")
    finally:
        tmp_path.chmod(0o755)
