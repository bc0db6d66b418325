"""From a path to the exam in view, without Qt: the readers are fake and slow or bad at will."""

import threading
from pathlib import Path

import pytest
from fakes import make_entry, make_exam

from napari_octcube import _exam_listing, _opening
from napari_octcube._opening import ExamOpener, may_be_exam
from napari_octcube._session import Session
from octcube_core.errors import ExamReadError

ROOT = Path("/exams")


class Bench:
    """An opener whose dispatcher, exam shown and question asked can be looked at."""

    def __init__(self, owner, monkeypatch):
        self.owner = owner
        self.session = Session()
        self.shown = []
        self.asked = []
        self.opener = ExamOpener(self.session, owner, self.shown.append, self.asked.append)
        self._monkeypatch = monkeypatch

    def files(self, *entries, gate=None):
        def find(path):
            for number, entry in enumerate(entries):
                if gate is not None and number == 1:
                    gate.wait(20)
                yield entry

        self._monkeypatch.setattr(_exam_listing.octcube_core, "find_exams", find)

    def open(self, *paths):
        self.opener.open_paths(paths or (ROOT,))


@pytest.fixture
def bench(owner, monkeypatch):
    return Bench(owner, monkeypatch)


def bad():
    raise ExamReadError("b.vol is truncated; copy it again.")


def test_a_single_exam_is_opened_without_a_question(bench):
    exam = make_exam()
    bench.files(make_entry("a.vol", lambda: exam))
    bench.open()
    assert bench.session.opening == "exams"
    bench.owner.run_until(lambda: bench.shown)
    assert bench.shown == [exam]
    assert (bench.session.opening, bench.asked) == ("", [])


def test_reading_happens_on_another_thread(bench):
    threads = []

    def produce():
        threads.append(threading.current_thread())
        return make_exam()

    bench.files(make_entry("a.vol", produce))
    bench.open()
    bench.owner.run_until(lambda: bench.shown)
    assert threads != [threading.main_thread()]


def test_several_exams_are_asked_about_once_and_nothing_opens(bench):
    bench.files(*(make_entry(f"{n}.vol", bad) for n in range(5)))
    bench.open()
    bench.owner.run_until(lambda: bench.asked and bench.asked[0].done)
    assert len(bench.asked) == 1
    assert (bench.shown, bench.session.opening, bench.session.error) == ([], "", "")


def test_the_chosen_exam_opens_and_the_question_is_over(bench):
    exam = make_exam()
    bench.files(make_entry("a.vol", bad), make_entry("b.vol", lambda: exam))
    bench.open()
    bench.owner.run_until(lambda: bench.asked and bench.asked[0].done)
    (listing,) = bench.asked
    over = []
    listing.over.connect(lambda: over.append(True))
    bench.opener.open_listed(listing.exams[1])
    assert bench.session.opening == "b.vol"
    bench.owner.run_until(lambda: bench.shown)
    assert bench.shown == [exam]
    assert over == [True]


def test_a_bad_choice_is_said_and_another_can_be_made(bench):
    exam = make_exam()
    bench.files(make_entry("b.vol", bad), make_entry("c.vol", lambda: exam))
    bench.open()
    bench.owner.run_until(lambda: bench.asked and bench.asked[0].done)
    (listing,) = bench.asked
    failed = []
    listing.failed.connect(failed.append)
    bench.opener.open_listed(listing.exams[0])
    bench.owner.run_until(lambda: failed)
    assert failed[0].problem == "b.vol is truncated; copy it again."
    assert bench.session.error == ""  # the list says it
    bench.opener.open_listed(listing.exams[1])
    bench.owner.run_until(lambda: bench.shown)


def test_a_bad_single_exam_is_an_error(bench):
    bench.files(make_entry("b.vol", bad))
    bench.open()
    bench.owner.run_until(lambda: bench.session.error)
    assert bench.session.error == "b.vol is truncated; copy it again."
    assert bench.session.opening == ""


def test_nothing_found_is_an_error(bench):
    bench.files()
    bench.open()
    bench.owner.run_until(lambda: bench.session.error)
    assert "holds no OCT exam" in bench.session.error
    assert (bench.session.opening, bench.shown, bench.asked) == ("", [], [])


def test_a_bug_is_a_sentence_without_the_file_s_content(bench):
    def bug():
        raise ValueError("Quagga^Zebedee")

    bench.files()
    bench.opener.open_exam(bug, "x")
    bench.owner.run_until(lambda: bench.session.error)
    assert "ValueError" in bench.session.error
    assert "Quagga" not in bench.session.error


def test_a_slow_folder_is_offered_before_it_is_listed(bench, monkeypatch, tmp_path):
    monkeypatch.setattr(_opening, "PATIENCE_S", 0.1)
    gate = threading.Event()
    exam = make_exam()
    monkeypatch.setattr(
        _exam_listing.octcube_core,
        "find_exams",
        _wait_at_the_end(make_entry("a.vol", lambda: exam), gate),
    )
    bench.open(tmp_path)
    bench.owner.run_until(lambda: bench.asked)
    gate.set()  # it was the only one: no need to ask
    bench.owner.run_until(lambda: bench.shown)
    assert bench.shown == [exam]


def _wait_at_the_end(entry, gate):
    def find(path):
        yield entry
        gate.wait(20)

    return find


def test_the_newest_request_wins(bench):
    gate = threading.Event()
    slow, quick = make_exam(), make_exam()

    def produce():
        gate.wait(20)
        return slow

    bench.opener.open_exam(produce, "slow")
    bench.opener.open_exam(lambda: quick, "quick")
    bench.owner.run_until(lambda: bench.shown)
    gate.set()
    with pytest.raises(pytest.fail.Exception):
        bench.owner.run_until(lambda: len(bench.shown) > 1, timeout=0.3)
    assert bench.shown == [quick]


def test_cancel_forgets_everything(bench):
    gate = threading.Event()
    bench.files(make_entry("a.vol", bad), make_entry("b.vol", bad), gate=gate)
    bench.open()
    bench.opener.cancel()
    gate.set()
    with pytest.raises(pytest.fail.Exception):
        bench.owner.run_until(lambda: bench.asked, timeout=0.3)
    assert (bench.session.opening, bench.session.error) == ("", "")


def test_which_files_are_worth_a_try(tmp_path):
    (tmp_path / "notes.txt").write_text("no exam")
    (tmp_path / "IM001").write_bytes(bytes(128) + b"DICM" + bytes(10))
    names = {"a.VOL", "a.e2e", "a.png", "IM001", "notes.txt", "gone.txt"}
    assert {name for name in names if may_be_exam(tmp_path / name)} == {
        "a.VOL", "a.e2e", "a.png", "IM001",
    }  # fmt: skip
    assert may_be_exam(tmp_path)


def test_a_path_that_cannot_exist_is_an_error(bench, tmp_path):
    bench.open(tmp_path / "nowhere" / "\0")
    bench.owner.run_until(lambda: bench.session.error)
    assert bench.session.opening == ""
