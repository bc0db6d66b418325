"""Pictures of listed exams, made on a thread; the readers are fake."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from fakes import make_entry, make_exam

from napari_octcube import _exam_thumbnails
from napari_octcube._exam_listing import ListedExam
from napari_octcube._exam_thumbnails import HEIGHT, WIDTH, ExamThumbnails, bscan_picture
from octcube_core.errors import ExamReadError
from octcube_core.exam import OCTVolume


@pytest.fixture
def thumbnails(owner):
    thumbnails = ExamThumbnails(owner)
    yield thumbnails
    thumbnails.close()


def listed(name, produce=make_exam, **facts):
    return ListedExam(make_entry(name, produce, **facts), name)


def bad():
    raise ExamReadError("bad.vol is truncated; copy it again.")


def crash():
    raise MemoryError


def test_pictures_come_in_the_order_of_the_rows_off_the_owner_s_thread(thumbnails, owner):
    threads, made = set(), []

    def produce():
        threads.add(threading.current_thread())
        return make_exam()

    exams = [listed(f"{n}.vol", produce) for n in range(4)]
    thumbnails.made.connect(made.append)
    thumbnails.want(exams)
    owner.run_until(lambda: len(made) == 4)
    assert made == exams
    assert len(threads) == 1
    assert threading.main_thread() not in threads
    assert thumbnails.picture(exams[0]).shape == (HEIGHT, WIDTH)


def test_each_is_made_once(thumbnails, owner):
    read = []

    def produce():
        read.append(1)
        return make_exam()

    exam, other = listed("a.vol", produce), listed("b.vol")
    thumbnails.want([exam])
    owner.run_until(lambda: thumbnails.picture(exam) is not None)
    thumbnails.want([exam, other])
    owner.run_until(lambda: thumbnails.picture(other) is not None)
    assert len(read) == 1


def test_a_damaged_exam_has_none_and_the_others_follow(thumbnails, owner):
    exams = [listed("bad.vol", bad), listed("crash.vol", crash), listed("good.vol")]
    thumbnails.want(exams)
    owner.run_until(lambda: thumbnails.picture(exams[2]) is not None)
    assert thumbnails.picture(exams[0]) is thumbnails.picture(exams[1]) is None
    assert exams[0].problem == ""  # nobody has tried to open it


def test_rows_that_were_scrolled_away_are_not_read(thumbnails, owner):
    gate, read = threading.Event(), []

    def slow():
        gate.wait(20)
        return make_exam()

    def passed():
        read.append("passed")
        return make_exam()

    first, seen = listed("first.vol", slow), listed("seen.vol")
    thumbnails.want([first, *(listed(f"{n}.vol", passed) for n in range(20))])
    thumbnails.want([seen])
    gate.set()
    owner.run_until(lambda: thumbnails.picture(seen) is not None)
    assert read == []


def test_nothing_comes_after_the_end(thumbnails, owner):
    gate, begun, made = threading.Event(), threading.Event(), []

    def slow():
        begun.set()
        gate.wait(20)
        return make_exam()

    exam, next_one = listed("a.vol", slow), listed("b.vol", lambda: made.append("read"))
    thumbnails.made.connect(made.append)
    thumbnails.want([exam, next_one])
    assert begun.wait(10)
    thumbnails.close()
    gate.set()
    with pytest.raises(pytest.fail.Exception):
        owner.run_until(lambda: made, timeout=0.3)
    assert thumbnails.picture(exam) is None


def test_very_large_exams_are_left_out(thumbnails, owner, monkeypatch, tmp_path):
    monkeypatch.setattr(_exam_thumbnails, "MOST_BYTES", 1000)
    monkeypatch.setattr(_exam_thumbnails, "MOST_VOXELS", 10**6)
    read = []
    (tmp_path / "big.vol").write_bytes(bytes(1001))
    exams = [
        listed(tmp_path / "big.vol", lambda: read.append("file")),
        listed("wide.vol", lambda: read.append("voxels"), shape=(100, 1000, 11)),
        listed("small.vol", shape=(20, 96, 160)),
    ]
    thumbnails.want(exams)
    owner.run_until(lambda: thumbnails.picture(exams[2]) is not None)
    assert read == []


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
