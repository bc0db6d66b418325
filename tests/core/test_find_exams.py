"""Which exams a folder holds, in which order, whatever else lies in it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.fileset import FileSet

from octcube_core.errors import ExamReadError, InputError
from octcube_core.readers import find_exams, read_exam, read_exams, tree

VOXELS = np.random.default_rng(5).integers(0, 256, (3, 16, 20), dtype=np.uint8)


def names(path: Path) -> list[str]:
    return [entry.name_below(path) for entry in find_exams(path)]


def images(folder: Path, *stems: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index, stem in enumerate(stems):
        Image.fromarray(VOXELS[index % 3]).save(folder / f"{stem}.png")
    return folder


def array(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, VOXELS)
    return path


def stack(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, VOXELS, photometric="minisblack", metadata=None)
    return path


def dicom(path: Path, person: str, photograph: Path | None = None, grey: int | None = None) -> Path:
    """An OCT that refers to a photograph, or a photograph of one grey."""
    pixels = VOXELS if grey is None else np.full((30, 30), grey, np.uint8)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.SOPClassUID = (
        uid.OphthalmicTomographyImageStorage
        if grey is None
        else uid.OphthalmicPhotography8BitImageStorage
    )
    dataset.Modality = "OPT" if grey is None else "OP"
    dataset.SOPInstanceUID = f"1.2.3.{abs(hash(path.as_posix()))}"
    dataset.PatientID, dataset.PatientName, dataset.ImageLaterality = person, "Zebedee^Quagga", "R"
    dataset.StudyInstanceUID = dataset.SeriesInstanceUID = uid.generate_uid()
    dataset.StudyID, dataset.SeriesNumber, dataset.InstanceNumber = "1", 1, 1
    dataset.StudyDate, dataset.StudyTime = "20240229", "120000"
    dataset.NumberOfFrames = 3 if grey is None else 1
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelRepresentation = 0
    if photograph is not None:
        reference = Dataset()
        reference.ReferencedSOPClassUID = uid.OphthalmicPhotography8BitImageStorage
        reference.ReferencedSOPInstanceUID = f"1.2.3.{abs(hash(photograph.as_posix()))}"
        dataset.ReferencedImageSequence = [reference]
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OB"
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_fundus_image_in_another_folder_is_found(tmp_path):
    for person, grey in (("p1", 11), ("p2", 12)):
        photograph = dicom(tmp_path / person / "series1" / "fundus.dcm", person, grey=grey)
        dicom(tmp_path / person / "series2" / "scan", person, photograph)
    entries = list(find_exams(tmp_path))
    assert [entry.name_below(tmp_path) for entry in entries] == [
        "p1/series2/scan",
        "p2/series2/scan",
    ]
    exams = [entry.read() for entry in entries]
    assert [int(exam.enface[0].pixels.flat[0]) for exam in exams] == [11, 12]
    assert names(tmp_path / "p1" / "series2") == ["scan"]
    assert not any("Quagga" in f"{entry}" for entry in entries)


def test_damaged_dicom_is_listed(tmp_path):
    content = dicom(tmp_path / "b.dcm", "p1").read_bytes()
    told: list[str] = []
    for length in (140, 220, 300, 500, len(content) - 10):
        (tmp_path / "a.dcm").write_bytes(content[:length])
        told.clear()
        exams = list(read_exams(tmp_path, on_error=lambda entry, _: told.append(entry.path.name)))
        assert [exam.source for exam in exams] == [tmp_path / "b.dcm"]
        assert told == ["a.dcm"]


def test_fundus_images_alone_are_no_exam(tmp_path):
    dicom(tmp_path / "fundus.dcm", "p1", grey=3)
    with pytest.raises(ExamReadError, match="1 x DICOM without B-scans"):
        names(tmp_path)


def test_dicomdir_lists_its_files_once(tmp_path):
    scan = dicom(tmp_path / "in" / "scan.dcm", "p1")
    medium = FileSet()
    medium.add(scan)
    medium.write(tmp_path / "medium")
    array(tmp_path / "medium" / "eye.npy")
    (entry, other) = find_exams(tmp_path / "medium")
    assert entry.read().volume.shape == VOXELS.shape
    assert other.path.name == "eye.npy"
    (tmp_path / "medium" / "DICOMDIR").write_bytes(
        (tmp_path / "medium" / "DICOMDIR").read_bytes()[:400]
    )
    exams = list(read_exams(tmp_path / "medium"))
    assert [exam.format for exam in exams] == ["DICOM", "NumPy"]


def test_exams_of_a_tree_in_natural_order(tmp_path):
    images(tmp_path / "visit10", "b1", "b2", "ir")
    array(tmp_path / "visit2" / "eye.npy")
    stack(tmp_path / "visit2" / "scan10.tif")
    stack(tmp_path / "visit2" / "scan9.tif")
    (tmp_path / "visit3").mkdir()
    assert names(tmp_path) == ["visit2/eye.npy", "visit2/scan9.tif", "visit2/scan10.tif", "visit10"]
    exams = list(read_exams(tmp_path))
    assert [exam.format for exam in exams] == ["NumPy", "TIFF", "TIFF", "folder"]
    assert [exam.volume.shape[0] for exam in exams] == [3, 3, 3, 2]
    assert exams[3].modalities == ("OCT", "IR")


def test_several_exams_are_not_guessed_among(tmp_path):
    array(tmp_path / "OD" / "eye.npy")
    array(tmp_path / "OS" / "eye.npy")
    with pytest.raises(ExamReadError, match=r"holds 2 exams.*1 = OD/eye.npy, 2 = OS/eye.npy"):
        read_exam(tmp_path)
    assert read_exam(tmp_path, exam=2).source == tmp_path / "OS" / "eye.npy"
    with pytest.raises(InputError, match="fewer than 3"):
        read_exam(tmp_path, exam=3)
    with pytest.raises(InputError, match="fewer than"):
        read_exam(tmp_path, exam=10**30)


def test_single_pages_are_one_exam_and_stacks_are_many(tmp_path):
    for index, bscan in enumerate(VOXELS):
        tifffile.imwrite(tmp_path / f"page_{index}.tif", bscan)
    assert names(tmp_path) == [tmp_path.name]
    assert read_exam(tmp_path).volume.shape == (3, 16, 20)
    for file in tmp_path.iterdir():
        file.unlink()
    stack(tmp_path / "left.tif")
    tifffile.imwrite(tmp_path / "right.tif", VOXELS, imagej=True)
    images(tmp_path, "preview")
    assert names(tmp_path) == ["left.tif", "right.tif"]


def test_previews_beside_an_exam_are_none(tmp_path):
    array(tmp_path / "eye.npy")
    images(tmp_path, "screenshot", "report")
    assert names(tmp_path) == ["eye.npy"]


def test_numbered_images_beside_an_exam_are_another(tmp_path):
    array(tmp_path / "eye.npy")
    images(tmp_path, "oct_01", "oct_02", "oct_03")
    assert names(tmp_path) == [tmp_path.name, "eye.npy"]


def test_heidelberg_export_owns_its_images(real_data):
    assert names(real_data / "heyex_xml") == ["test_dummy.xml"]


def test_drawn_fluid_of_retouch_is_no_exam(tmp_path):
    for name in ("oct", "reference"):
        (tmp_path / f"{name}.mhd").write_text("ObjectType = Image\nNDims = 3\n")
        (tmp_path / f"{name}.raw").write_bytes(b"0")
    assert names(tmp_path) == ["oct.mhd"]


def test_own_results_and_system_files_are_passed_over(tmp_path):
    images(tmp_path, "b1", "b2")
    out = tmp_path / "results"
    images(out, "montage")
    stack(out / "saliency.ome.tif")
    (out / "scores.json").write_text("{}")
    images(tmp_path / "__MACOSX", "b1", "b2")
    images(tmp_path / ".hidden", "b1", "b2")
    array(tmp_path / "._eye.npy")
    (tmp_path / "Thumbs.db").write_bytes(b"x")
    assert names(tmp_path) == [tmp_path.name]


def test_broken_files_are_listed_and_say_why(tmp_path):
    array(tmp_path / "a.npy")
    (tmp_path / "b.npy").write_bytes(b"no array")
    (tmp_path / "c.vol").touch()
    (tmp_path / "d.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-50])
    (tmp_path / "notes.txt").write_text("x")
    assert names(tmp_path) == ["a.npy", "b.npy", "c.vol", "d.npy"]
    told: list[str] = []
    exams = list(read_exams(tmp_path, on_error=lambda entry, error: told.append(str(error))))
    assert len(exams) == 1
    assert "b.npy is no .npy file inside" in told[0]
    assert "c.vol is empty" in told[1]
    assert "d.npy" in told[2]


def test_error_while_listing_one_file_is_not_the_end(tmp_path, monkeypatch):
    array(tmp_path / "a.npy")
    array(tmp_path / "b.npy")
    whole = tree.entries_of

    def failing(path, found, options):
        if path.name == "a.npy":
            raise KeyError("secret")
        return whole(path, found, options)

    monkeypatch.setattr(tree, "entries_of", failing)
    first, second = find_exams(tmp_path)
    with pytest.raises(ExamReadError, match=r"a\.npy") as caught:
        first.read()
    assert "secret" not in str(caught.value)
    assert second.read().volume.shape == VOXELS.shape


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes and links on this system")
def test_loops_pipes_and_links_to_nowhere(tmp_path):
    array(tmp_path / "top" / "eye" / "a.npy")
    array(tmp_path / "elsewhere" / "b.npy")
    top = tmp_path / "top"
    (top / "eye" / "again").symlink_to(top)
    (top / "up").symlink_to(tmp_path)
    (top / "root").symlink_to("/")
    (top / "self").symlink_to(top / "self")
    (top / "nowhere.npy").symlink_to(tmp_path / "missing.npy")
    (top / "linked").symlink_to(tmp_path / "elsewhere")
    (top / "twice").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(top / "pipe.npy")
    assert names(top) == ["eye/a.npy", "linked/b.npy"]


def test_unreadable_folder_below_is_passed_over(tmp_path, monkeypatch):
    array(tmp_path / "locked" / "a.npy")
    array(tmp_path / "open" / "b.npy")
    iterdir = Path.iterdir

    def guarded(self):
        if self.name == "locked":
            raise PermissionError(13, "Permission denied", str(self))
        return iterdir(self)

    monkeypatch.setattr(Path, "iterdir", guarded)  # tests may run as root, whom chmod stops not
    assert names(tmp_path) == ["open/b.npy"]
    with pytest.raises(ExamReadError, match="locked may not be read"):
        names(tmp_path / "locked")


def test_folder_without_an_exam_says_what_it_holds(tmp_path):
    with pytest.raises(ExamReadError, match="holds no B-scan images"):
        names(tmp_path)
    (tmp_path / "Jane Doe.pdf").write_bytes(b"%PDF")
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "b.txt").write_text("x")
    with pytest.raises(ExamReadError, match=r"2 x \.txt, 1 x \.pdf") as caught:
        names(tmp_path)
    assert "Jane" not in str(caught.value)


def test_options_reach_the_files_that_take_them(tmp_path):
    array(tmp_path / "a" / "eye.npy")
    images(tmp_path / "b", "b1", "b2")
    exams = list(read_exams(tmp_path, axes="yxz"))
    assert [exam.volume.shape for exam in exams] == [(20, 3, 16), (2, 16, 20)]
    with pytest.raises(InputError, match="No exam in b is of a format whose axes may be stated"):
        read_exam(tmp_path / "b", axes="yxz")
    with pytest.raises(InputError, match="shape"):
        read_exam(tmp_path, shape=(3, 16, 20))
    with pytest.raises(InputError, match="states its own axes"):
        read_exam(images(tmp_path / "c", "b1") / "b1.png", axes="yxz")


def test_two_thousand_files_are_listed_in_seconds(tmp_path, monkeypatch):
    content = array(tmp_path / "p0" / "0.npy").read_bytes()
    for index in range(1, 2000):
        file = tmp_path / f"p{index // 50}" / f"{index}.npy"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
    monkeypatch.setattr(np, "load", None)  # nothing is decoded
    started = time.monotonic()
    found = names(tmp_path)
    assert time.monotonic() - started < 20
    assert len(found) == 2000
    assert found[:2] + found[-1:] == ["p0/0.npy", "p0/1.npy", "p39/1999.npy"]


def test_hundreds_of_folders_deep(tmp_path):
    folder = tmp_path
    for _ in range(700):
        folder = folder / "d"
    try:
        folder.mkdir(parents=True)
        array(folder / "a.npy")
    except OSError:
        pytest.skip("this file system has no such depth")
    assert [entry.path.name for entry in find_exams(tmp_path)] == ["a.npy"]


def test_a_folder_of_images_tells_what_its_meta_json_and_first_image_state(tmp_path):
    for number in range(3):
        Image.fromarray(np.zeros((8, 9), np.uint8)).save(tmp_path / f"oct_{number}.png")
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(tmp_path / "ir.png")
    (tmp_path / "meta.json").write_text('{"laterality": "OS", "scan_pattern": "raster"}')
    (entry,) = find_exams(tmp_path)
    assert (entry.laterality, entry.scan_pattern) == ("OS", "raster")
    assert entry.modalities == ("OCT", "IR")
    assert entry.shape == (3, 8, 9)
