from __future__ import annotations

import json
import struct
import zlib
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


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["OD_000", "OD_001", "OS_000", "OS_001"], "the images of several volumes"),
        (["p1_1", "p1_2", "p1_3", "p2_1", "p2_2", "p2_3"], "the images of several volumes"),
        (["oct_0", "oct_1", "oct_2", "oct_0_mask", "oct_1_mask", "oct_2_mask"], "several volumes"),
        (["a_0", "a_1", "a_3", "a_4", "readme"], "holds readme.png, which is not numbered"),
        (["oct_1", "oct_2", "oct_3", "fundus_7"], "holds fundus_7.png, which is not numbered"),
        ([f"oct_{n:03}" for n in (*range(5), *range(40, 49))], "lacks B-scan number 5, 6, 7"),
    ],
)
def test_images_that_are_not_one_whole_volume_are_refused(tmp_path, names, told):
    for name in names:
        Image.fromarray(np.zeros((8, 9), np.uint8)).save(tmp_path / f"{name}.png")
    with pytest.raises(ExamReadError, match=told):
        read_exam(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ["left", "middle", "right"],
        ["scan_10-11-12", "scan_10-11-47", "scan_10-12-20"],
        ["1_of_3", "2_of_3", "3_of_3"],
    ],
)
def test_names_without_frame_numbers_are_taken_in_their_order(tmp_path, names):
    for level, name in enumerate(names):
        Image.fromarray(np.full((8, 9), level, np.uint8)).save(tmp_path / f"{name}.png")
    assert read_exam(tmp_path).volume.voxels[:, 0, 0].tolist() == [0, 1, 2]


def test_every_other_bscan_does_not_take_the_distance_of_all(tmp_path):
    for number in (0, 2, 4):
        Image.fromarray(np.zeros((8, 9), np.uint8)).save(tmp_path / f"oct_{number}.png")
    (tmp_path / "meta.json").write_text('{"spacing_mm": [0.12, 0.0039, 0.011]}')
    exam = read_exam(tmp_path)
    assert exam.volume.spacing_mm == (None, 0.0039, 0.011)
    assert folder_reader.NOT_EVERY_BSCAN in exam.warnings


@pytest.mark.parametrize("damage", ["half", "taller"])
def test_jpeg_without_all_its_data_is_no_grey_bscan(tmp_path, damage):
    path = tmp_path / "bscan.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (200, 300), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    assert read_exam(path).volume.shape == (1, 200, 300)
    content = path.read_bytes()
    if damage == "half":
        content = content[: len(content) // 2] + b"\xff\xd9"
    else:
        at = content.index(b"\xff\xc0") + 5
        content = content[:at] + (800).to_bytes(2, "big") + content[at + 2 :]
    path.write_bytes(content)
    with pytest.raises(ExamReadError, match=r"a part of its JPEG data is missing"):
        read_exam(path)


def test_png_with_far_more_data_than_pixels_is_refused_at_once(tmp_path):
    path = tmp_path / "bomb.png"
    packed = zlib.compress(bytes(300 * 1024**2), 1)
    header = struct.pack(">IIBBBBB", 100, 100, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    with pytest.raises(ExamReadError, match=r"bomb\.png cannot be read as an image"):
        read_exam(path)


def test_truncated_compressed_tiff_says_so_and_prints_nothing(tmp_path, capfd):
    path = tmp_path / "B1.tif"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    tifffile.imwrite(path, noise, compression="lzw", rowsperstrip=16)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 900])
    Image.fromarray(noise).save(tmp_path / "B2.tif")
    with pytest.raises(ExamReadError, match=r"B1\.tif"):
        read_exam(tmp_path)
    assert capfd.readouterr().err == ""
