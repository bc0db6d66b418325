"""Pictures of listed exams, made in a process from real files."""

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import make_exam

import octcube_core
from napari_octcube import _thumbnail_process
from napari_octcube._exam_listing import ListedExam
from napari_octcube._exam_thumbnails import ExamThumbnails
from napari_octcube._thumbnail_process import HEIGHT, WIDTH, bscan_picture
from octcube_core.exam import OCTVolume


@pytest.fixture
def thumbnails(owner):
    thumbnails = ExamThumbnails(owner)
    yield thumbnails
    thumbnails.close()


def listed(path, value=None):
    """The exam of a new file; without a value one that was damaged since it was listed."""
    np.save(path, np.full((3, 64, 96), value or 0, np.uint8))
    entry = next(octcube_core.find_exams(path))
    if value is None:
        path.write_bytes(b"no array")
    return ListedExam(entry, path.name, within=path.parent)


def brightness(thumbnails, exam):
    picture = thumbnails.picture(exam)
    return None if picture is None else picture.mean()


def test_pictures_come_in_the_order_of_the_rows(thumbnails, owner, tmp_path):
    made = []
    exams = [listed(tmp_path / f"{n}.npy", 50 * n) for n in range(4)]
    thumbnails.made.connect(made.append)
    thumbnails.want(exams)
    owner.run_until(lambda: len(made) == 4)
    assert made == exams
    assert [brightness(thumbnails, exam) for exam in exams] == [0, 50, 100, 150]
    assert thumbnails.picture(exams[0]).shape == (HEIGHT, WIDTH)


def test_a_damaged_exam_has_none_and_the_others_follow(thumbnails, owner, tmp_path):
    exams = [listed(tmp_path / "bad.npy"), listed(tmp_path / "good.npy", 9)]
    thumbnails.want(exams)
    owner.run_until(lambda: brightness(thumbnails, exams[1]) == 9)
    assert thumbnails.picture(exams[0]) is None
    assert exams[0].problem == ""  # nobody has tried to open it


def test_rows_that_were_scrolled_away_are_not_read(thumbnails, owner, tmp_path):
    passed = [listed(tmp_path / f"{n}.npy", 1) for n in range(30)]
    seen = listed(tmp_path / "seen.npy", 7)
    thumbnails.want(passed)
    thumbnails.want([seen])
    owner.run_until(lambda: brightness(thumbnails, seen) == 7)
    assert not any(thumbnails.picture(exam) is not None for exam in passed)
    thumbnails.want(passed[:1])  # back again
    owner.run_until(lambda: brightness(thumbnails, passed[0]) == 1)


def test_each_is_made_once(thumbnails, owner, tmp_path):
    exam, other = listed(tmp_path / "a.npy", 1), listed(tmp_path / "b.npy", 2)
    thumbnails.want([exam])
    owner.run_until(lambda: brightness(thumbnails, exam) == 1)
    np.save(tmp_path / "a.npy", np.full((3, 64, 96), 200, np.uint8))
    thumbnails.want([exam, other])
    owner.run_until(lambda: brightness(thumbnails, other) == 2)
    assert brightness(thumbnails, exam) == 1


def test_nothing_comes_after_the_end_and_the_process_ends(thumbnails, owner, tmp_path):
    made = []
    thumbnails.made.connect(made.append)
    thumbnails.want([listed(tmp_path / f"{n}.npy", 1) for n in range(5)])
    command = thumbnails._command
    end = time.monotonic() + 10
    while command._process is None and time.monotonic() < end:
        time.sleep(0.01)
    thumbnails.close()
    command._process.wait(10)
    owner.run_pending()
    assert made == []
    thumbnails.want([listed(tmp_path / "late.npy", 1)])
    assert thumbnails._command is None


def test_an_exam_that_brings_the_process_down_is_passed_over(
    thumbnails, owner, tmp_path, monkeypatch
):
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "def watch(event, details):\n"
        "    if event == 'open' and 'deadly' in str(details[0]):\n"
        "        os._exit(139)\n"
        "sys.addaudithook(watch)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    exams = [listed(tmp_path / f"{name}.npy", 3) for name in ("first", "deadly", "last")]
    thumbnails.want(exams)
    owner.run_until(lambda: brightness(thumbnails, exams[2]) == 3)
    assert brightness(thumbnails, exams[0]) == 3
    assert thumbnails.picture(exams[1]) is None


def rows(capsys, monkeypatch, *places):
    """What the process says of some places."""
    monkeypatch.setenv(_thumbnail_process.VARIABLE, json.dumps([list(map(str, p)) for p in places]))
    _thumbnail_process.main()
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["row"] for one in said] == list(range(len(places)))
    return [one["picture"] is not None for one in said]


def test_very_large_exams_are_left_out(capsys, monkeypatch, tmp_path):
    small, large, wide = (tmp_path / f"{name}.npy" for name in ("small", "large", "wide"))
    for path, shape in ((small, (2, 32, 32)), (large, (4, 64, 64)), (wide, (2, 32, 34))):
        np.save(path, np.zeros(shape, np.uint8))
    monkeypatch.setattr(_thumbnail_process, "MOST_BYTES", 10_000)
    places = [(path, "", tmp_path) for path in (small, large)]
    assert rows(capsys, monkeypatch, *places) == [True, False]
    monkeypatch.setattr(_thumbnail_process, "MOST_VOXELS", 2 * 32 * 33)
    entry = replace(next(octcube_core.find_exams(wide)), shape=(2, 32, 34))
    monkeypatch.setattr("octcube_core.find_exams", lambda path: iter([entry]))
    assert rows(capsys, monkeypatch, (wide, "", tmp_path)) == [False]


def test_an_exam_of_several_files_is_found_in_what_was_opened(capsys, monkeypatch, tmp_path):
    from fakes import make_entry

    listings = []

    def find(path):
        listings.append(Path(path))
        if Path(path) == tmp_path:
            for name in ("a.dcm", "b.dcm", "c.dcm"):
                yield make_entry(tmp_path / name, part="4 files")
        else:
            yield make_entry(path)

    monkeypatch.setattr("octcube_core.find_exams", find)
    places = [(tmp_path / name, "4 files", tmp_path) for name in ("b.dcm", "a.dcm", "gone.dcm")]
    assert rows(capsys, monkeypatch, *places) == [True, True, False]
    assert listings.count(tmp_path) == 1


def test_it_shows_the_middle_bscan_with_its_contrast():
    voxels = np.zeros((5, 96, 144), np.uint8)
    rng = np.random.default_rng(0)
    voxels[2] = rng.integers(1, 30, (96, 144))
    voxels[2, 48:] += 70
    picture = bscan_picture(replace(make_exam(), volume=OCTVolume(voxels)))
    assert picture[:20].mean() < 60
    assert picture[28:].mean() > 190
    first = bscan_picture(replace(make_exam(), volume=OCTVolume(voxels[:1])))
    assert first.max() == 0
