from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from octcube_core.errors import ExamReadError
from octcube_core.readers import folder as folder_reader
from octcube_core.readers import folder_meta, read_exam
from octcube_core.readers.folder_meta import KEYS
from octcube_core.readers.formats import FORMATS

RNG = np.random.default_rng(7)
BSCANS = RNG.integers(0, 256, (3, 8, 10), dtype=np.uint8)
LINES = [[[row, 0], [row, 9]] for row in (1, 2, 3)]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "exam"
    folder.mkdir()
    for index, bscan in enumerate(BSCANS):
        Image.fromarray(bscan).save(folder / f"oct_{index + 9}.png")  # 9, 10, 11
    return folder


def write_meta(folder, **entries):
    (folder / "meta.json").write_text(json.dumps(entries))


def test_real_raster(real_data):
    exam = read_exam(real_data / "hcms_hc01")
    assert exam.volume.shape == (49, 382, 1009)
    assert exam.volume.voxels.dtype == np.uint8
    last = np.asarray(Image.open(real_data / "hcms_hc01" / "oct_048.png"))
    np.testing.assert_array_equal(exam.volume.voxels[48], last)
    assert exam.volume.spacing_mm == (None, None, None)
    assert exam.scan_pattern is None
    assert exam.warnings == ("The file states no voxel spacing; sizes are shown in pixels.",)


def test_bscans_are_in_natural_order(folder):
    np.testing.assert_array_equal(read_exam(folder).volume.voxels, BSCANS)


def test_everything_that_meta_json_states(folder):
    Image.fromarray(np.full((12, 14), 3, np.uint8)).save(folder / "ir.png")
    Image.fromarray(np.full((12, 14), 4, np.uint8)).save(folder / "FAF.PNG")
    write_meta(
        folder,
        spacing_mm=[0.122, 0.00387, 0.0058],
        ir_spacing_mm=[0.011, 0.012],
        faf_spacing_mm=[None, 0.02],
        laterality="left",
        scan_pattern="raster",
        device="Heidelberg Spectralis",
        locations={"image": "faf", "polylines": LINES},
    )
    exam = read_exam(folder)
    assert exam.volume.spacing_mm == (0.122, 0.00387, 0.0058)
    assert exam.modalities == ("OCT", "IR", "FAF")
    assert exam.volume.shape[0] == 3  # fundus images are no B-scans
    assert exam.image("IR").spacing_mm == (0.011, 0.012)
    assert exam.image("FAF").spacing_mm == (None, 0.02)
    assert (exam.image("FAF").pixels == 4).all()
    assert (exam.laterality, exam.scan_pattern) == ("OS", "raster")
    assert exam.device == "Heidelberg Spectralis"
    assert exam.enface[exam.locations.image].modality == "FAF"
    np.testing.assert_array_equal(exam.locations.polylines[2], LINES[2])
    assert exam.warnings == ()


@pytest.mark.parametrize(
    ("stated", "eye"),
    [("OD", "OD"), ("os", "OS"), ("R", "OD"), ("L", "OS"), ("Right", "OD"), (None, None)],
)
def test_laterality_spellings(folder, stated, eye):
    write_meta(folder, laterality=stated)
    assert read_exam(folder).laterality == eye


def test_unknown_entries_are_named_and_ignored(folder):
    write_meta(folder, spacing_mm=[0.1, 0.004, 0.006], pathology="AMD")
    (warning,) = read_exam(folder).warnings
    assert "pathology" in warning
    assert "AMD" not in warning


def test_unknown_distance_between_bscans_is_said(folder):
    write_meta(folder, spacing_mm=[None, 0.004, 0.006])
    exam = read_exam(folder)
    assert exam.volume.spacing_mm == (None, 0.004, 0.006)
    assert "distance between B-scans" in exam.warnings[0]


@pytest.mark.parametrize(
    ("entries", "named"),
    [
        ({"spacing_mm": [0.1, 0.004]}, "spacing_mm"),
        ({"spacing_mm": [0.1, 0.004, 0]}, "spacing_mm"),
        ({"spacing_mm": [0.1, 0.004, float("nan")]}, "spacing_mm"),
        ({"spacing_mm": [0.1, 0.004, "6 um"]}, "spacing_mm"),
        ({"spacing_mm": [True, True, True]}, "spacing_mm"),
        ({"spacing_mm": 0.1}, "spacing_mm"),
        ({"ir_spacing_mm": [1, 2, 3]}, "ir_spacing_mm"),
        ({"laterality": "both"}, "laterality"),
        ({"laterality": 1}, "laterality"),
        ({"scan_pattern": "spiral"}, "scan_pattern"),
        ({"scan_pattern": []}, "scan_pattern"),
        ({"device": 5}, "device"),
        ({"locations": 5}, "locations"),
        ({"locations": {"image": "cfp", "polylines": LINES}}, "locations"),
        ({"locations": {"image": -1, "polylines": LINES}}, "locations"),
        ({"locations": {"polylines": [[[1, 2]]] * 3}}, "locations"),
        ({"locations": {"polylines": [[[1, "x"], [2, 3]]] * 3}}, "locations"),
        ({"locations": {"image": "ir", "polylines": LINES}}, "IR image"),
        ({"locations": {"image": 0, "polylines": LINES}}, "does not hold"),
    ],
)
def test_malformed_entries_are_named(folder, entries, named):
    write_meta(folder, **entries)
    with pytest.raises(ExamReadError, match=named):
        read_exam(folder)


def test_number_of_places_must_match(folder):
    Image.fromarray(BSCANS[0]).save(folder / "ir.png")
    write_meta(folder, locations={"polylines": LINES[:2]})
    with pytest.raises(ExamReadError, match="3 B-scans but 2 places"):
        read_exam(folder)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "\x00", "[" * 100_000])
def test_meta_json_that_is_no_object(folder, text):
    (folder / "meta.json").write_text(text)
    with pytest.raises(ExamReadError, match=r"meta\.json"):
        read_exam(folder)


def test_grey_stored_as_colour_is_grey(folder):
    for file in folder.iterdir():
        Image.open(file).convert("RGBA").save(file)
    exam = read_exam(folder)
    np.testing.assert_array_equal(exam.volume.voxels, BSCANS)
    assert not any("colour" in warning for warning in exam.warnings)


def test_coloured_bscans_become_luminance_with_a_warning(folder):
    rgb = np.zeros((8, 10, 3), np.uint8)
    rgb[..., 1] = 200
    Image.fromarray(rgb).save(folder / "oct_10.png")
    exam = read_exam(folder)
    assert exam.volume.voxels[1, 0, 0] == 117  # BT.601: 0.587 of green
    assert any("coloured" in warning for warning in exam.warnings)


def test_colour_fundus_image_keeps_its_colour(folder):
    rgb = RNG.integers(0, 256, (6, 7, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(folder / "faf.png")
    np.testing.assert_array_equal(read_exam(folder).image("FAF").pixels, rgb)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_kept(tmp_path, suffix):
    bscans = RNG.integers(0, 65536, (2, 8, 10), dtype=np.uint16)
    for index, bscan in enumerate(bscans):
        Image.fromarray(bscan).save(tmp_path / f"{index}.{suffix}")
    exam = read_exam(tmp_path)
    assert exam.volume.voxels.dtype == np.uint16
    np.testing.assert_array_equal(exam.volume.voxels, bscans)


def test_mixed_sizes_and_depths_are_refused(folder):
    Image.fromarray(np.zeros((8, 11), np.uint8)).save(folder / "oct_12.png")
    with pytest.raises(ExamReadError, match=r"oct_12\.png is 8 x 11 .* oct_9\.png is 8 x 10"):
        read_exam(folder)
    Image.fromarray(np.zeros((8, 10), np.uint16)).save(folder / "oct_12.png")
    with pytest.raises(ExamReadError, match="16 bits"):
        read_exam(folder)


def test_missing_bscan_is_named(folder):
    (folder / "oct_10.png").rename(folder / "oct_13.png")  # leaves 9, 11, 13: every other
    assert read_exam(folder).volume.shape[0] == 3
    (folder / "oct_13.png").rename(folder / "oct_12.png")  # leaves 9, 11, 12
    with pytest.raises(ExamReadError, match="lacks B-scan number 10 between 9 and 12"):
        read_exam(folder)


def test_time_stamps_are_no_frame_numbers(folder):
    for file, stamp in zip(sorted(folder.iterdir()), (1718000, 1718007, 1718052), strict=True):
        file.rename(folder / f"{stamp}.png")
    assert read_exam(folder).volume.shape[0] == 3


def test_bscan_stored_twice_is_refused(folder):
    Image.fromarray(BSCANS[0]).save(folder / "oct_010.png")
    with pytest.raises(ExamReadError, match="number 10 twice"):
        read_exam(folder)


def test_hidden_and_other_files_are_passed_over(folder):
    (folder / "._oct_9.png").write_bytes(b"resource fork")
    (folder / "Thumbs.db").write_bytes(b"x")
    (folder / "notes.txt").write_text("x")
    (folder / "oct_99.png").mkdir()
    assert read_exam(folder).volume.shape == (3, 8, 10)


def test_decompression_bomb_is_refused(folder, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 79)
    with pytest.raises(ExamReadError, match="too large"):
        read_exam(folder)


def test_one_image_alone_is_one_bscan(folder):
    exam = read_exam(folder / "oct_10.png")
    np.testing.assert_array_equal(exam.volume.voxels, BSCANS[1:2])
    assert exam.format == "image"


def test_stack_among_the_bscans_is_pointed_out(folder):
    pages = [Image.fromarray(bscan) for bscan in BSCANS]
    pages[0].save(folder / "oct_12.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(ExamReadError, match=r"oct_12\.tif is a stack"):
        read_exam(folder)


def test_every_modality_and_the_range_shown(folder):
    for name in ("icga", "cfp", "oct", "fa", "ir"):
        Image.fromarray(RNG.integers(0, 256, (6, 7), dtype=np.uint8)).save(folder / f"{name}.png")
    write_meta(
        folder,
        value_range=[5, 99.5],
        cfp_spacing_mm=[0.02, 0.03],
        oct_spacing_mm=[0.12, None],
        locations={"image": "cfp", "polylines": LINES},
    )
    exam = read_exam(folder)
    assert exam.modalities == ("OCT", "IR", "CFP", "OCT", "FA", "ICGA")
    assert exam.volume.shape[0] == 3
    assert exam.volume.value_range == (5.0, 99.5)
    assert exam.image("CFP").spacing_mm == (0.02, 0.03)
    assert exam.image("OCT").spacing_mm == (0.12, None)
    assert exam.enface[exam.locations.image].modality == "CFP"


def test_value_range_must_rise(folder):
    for wrong in ([5, 5], [9, 1], [1], "all", [0, "x"]):
        write_meta(folder, value_range=wrong)
        with pytest.raises(ExamReadError, match="value_range"):
            read_exam(folder)


def test_one_bscan_called_oct_is_a_bscan(tmp_path):
    Image.fromarray(BSCANS[0]).save(tmp_path / "oct.png")
    assert folder_reader.read(tmp_path).volume.shape == (1, 8, 10)


def test_floating_point_tiff_is_kept(tmp_path):
    bscans = RNG.random((2, 8, 10), dtype=np.float32)
    for index, bscan in enumerate(bscans):
        tifffile.imwrite(tmp_path / f"oct_{index}.tif", bscan, metadata=None)
    exam = read_exam(tmp_path)
    assert exam.volume.voxels.dtype == np.float32
    np.testing.assert_array_equal(exam.volume.voxels, bscans)


def test_every_entry_is_documented():
    documented = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
    assert [key for key in KEYS if f"`{key}`" not in documented + folder_meta.__doc__] == []
    assert [
        entry.name
        for entry in FORMATS
        for suffix in entry.suffixes
        if suffix not in documented and suffix not in (".dicom", ".e2e", ".tiff", ".jpeg")
    ] == []


def test_results_written_into_the_exams_folder_are_no_bscans(tmp_path):
    for number in range(3):
        Image.fromarray(np.full((8, 9), number, np.uint8)).save(tmp_path / f"oct_{number}.png")
    Image.fromarray(np.zeros((30, 40), np.uint8)).save(tmp_path / "montage.png")
    (tmp_path / "scores.json").write_text("{}")
    assert read_exam(tmp_path).volume.shape == (3, 8, 9)
