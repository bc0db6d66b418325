"""Listing in the background, without Qt."""

import threading
import time
from pathlib import Path

import pytest
from fakes import make_entry

from napari_octcube import _exam_listing
from napari_octcube._exam_listing import PORTION, ExamListing
from octcube_core.errors import ExamReadError

ROOT = Path("/exams")


@pytest.fixture
def listed(owner, monkeypatch):
    """A function that starts to list what a fake `find_exams` yields, and returns the listing."""

    def start(find, paths=(ROOT,)):
        monkeypatch.setattr(_exam_listing.octcube_core, "find_exams", find)
        listing = ExamListing(paths, owner)
        listing.start()
        return listing

    return start


def test_names_are_relative_to_what_was_opened(listed, owner):
    listing = listed(
        lambda path: iter([make_entry(path / "anna/visit 2/a.dcm"), make_entry(path, part="OS")])
    )
    owner.run_until(lambda: listing.done)
    assert [exam.name for exam in listing.exams] == [str(Path("anna/visit 2/a.dcm")), "exams (OS)"]


def test_several_paths_make_one_list(listed, owner):
    listing = listed(
        lambda path: iter([make_entry(path / "x.vol")]), (Path("/a/right"), Path("/a/left"))
    )
    owner.run_until(lambda: listing.done)
    assert listing.name == "2 files"
    names = [str(Path("right/x.vol")), str(Path("left/x.vol"))]
    assert [exam.name for exam in listing.exams] == names


def test_columns_say_what_is_known_and_what_is_not(listed, owner):
    entries = [
        make_entry(
            "a.vol", laterality="OD", scan_pattern="circle", modalities=("OCT", "IR"),
            device="Spectralis", shape=(1, 496, 768),
        ),
        make_entry("b.vol"),
    ]  # fmt: skip
    listing = listed(lambda path: iter(entries))
    owner.run_until(lambda: listing.done)
    known, unknown = (exam.columns for exam in listing.exams)
    assert known == ("a.vol", "OD", "circle", "OCT, IR", "1 × 496 × 768", "Spectralis")
    assert unknown == ("b.vol", "–", "–", "–", "–", "–")


def test_exams_arrive_while_the_listing_goes_on(listed, owner):
    gate = threading.Event()

    def find(path):
        yield make_entry(path / "a.vol")
        gate.wait(20)
        yield make_entry(path / "b.vol")

    listing = listed(find)
    owner.run_until(lambda: len(listing.exams) == 1)
    assert not listing.done
    gate.set()
    owner.run_until(lambda: listing.done)
    assert len(listing.exams) == 2


def test_many_exams_arrive_in_portions_and_in_order(listed, owner):
    names = [f"{number}.vol" for number in range(3 * PORTION + 7)]
    listing = listed(lambda path: (make_entry(path / name) for name in names))
    portions = []
    listing.added.connect(lambda exams: portions.append(len(exams)))
    owner.run_until(lambda: listing.done)
    assert [exam.name for exam in listing.exams] == names
    assert max(portions) <= PORTION


def test_a_bad_path_is_a_sentence_and_the_others_are_listed(listed, owner):
    def find(path):
        if path.name == "bad":
            raise ExamReadError("bad does not exist; check the path.")
        if path.name == "worse":
            raise RuntimeError("Mrs Quagga")
        yield make_entry(path)

    listing = listed(find, (Path("/bad"), Path("/worse"), Path("/good")))
    owner.run_until(lambda: listing.done)
    assert [exam.entry.path.name for exam in listing.exams] == ["good"]
    assert listing.failures[0] == "bad does not exist; check the path."
    assert "worse" in listing.failures[1]
    assert "Quagga" not in listing.failures[1]


def test_nothing_found_is_a_sentence(listed, owner):
    listing = listed(lambda path: iter(()))
    owner.run_until(lambda: listing.done)
    assert listing.failures == ["exams holds no OCT exam; open the folder or file of one."]


def test_a_cancelled_listing_stops_and_is_silent(listed, owner):
    looked_at = []

    def find(path):
        for number in range(10**9):
            looked_at.append(number)
            yield make_entry(path / f"{number}.vol")
            time.sleep(0.001)

    listing = listed(find)
    owner.run_until(lambda: len(listing.exams) > 3)
    over = []
    listing.over.connect(lambda: over.append(True))
    listing.cancel()
    listing.cancel()
    heard = []
    listing.added.connect(heard.append)
    time.sleep(0.05)
    count = len(looked_at)
    time.sleep(0.1)
    assert len(looked_at) == count
    owner.run_pending()
    assert heard == []
    assert over == [True]
    assert not listing.done
