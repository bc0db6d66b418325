"""The list of recent exams without Qt: what is kept, what is not, and that each opens again."""

import json
import stat

import numpy as np
import pytest
from fakes import make_exam
from PIL import Image

from napari_octcube import _recent
from napari_octcube._exam_place import ExamPlace
from napari_octcube._opening import ExamOpener
from napari_octcube._recent import RecentExams
from napari_octcube._session import Session
from octcube_core.errors import OCTCubeError
from octcube_core.exam import Exam, OCTVolume, Patient


@pytest.fixture
def file(tmp_path):
    return tmp_path / "configuration" / "recent.json"


@pytest.fixture
def recent(owner):
    return RecentExams(owner)


def place(path):
    return ExamPlace(str(path), "", str(path))


def eye(path, value=0):
    np.save(path, np.full((3, 16, 24), value, np.uint8))
    return path


def add(recent, owner, where, exam=None):
    before = recent.exams
    recent.add(where, exam or make_exam())
    owner.run_until(lambda: recent.exams != before)


def names(recent):
    return [exam.place.name for exam in recent.exams]


def test_newest_first_each_once_and_no_more_than_ten(recent, owner, tmp_path):
    for number in range(12):
        add(recent, owner, place(tmp_path / f"{number}.vol"))
    add(recent, owner, place(tmp_path / "5.vol"))
    assert names(recent) == [f"{n}.vol" for n in (5, 11, 10, 9, 8, 7, 6, 4, 3, 2)]


def test_they_are_there_the_next_day(recent, owner, tmp_path):
    add(recent, owner, place(tmp_path / "a.vol"))
    tomorrow = RecentExams(owner)
    owner.run_until(lambda: tomorrow.exams)
    assert tomorrow.exams == recent.exams


def test_two_windows_do_not_overwrite_each_other(recent, owner, tmp_path):
    other = RecentExams(owner)
    add(recent, owner, place(tmp_path / "a.vol"))
    add(other, owner, place(tmp_path / "b.vol"))
    assert names(other) == ["b.vol", "a.vol"]
    recent.look()
    owner.run_until(lambda: len(recent.exams) == 2)


def test_nothing_of_the_patient_is_kept_and_nobody_else_may_read_it(recent, owner, file, tmp_path):
    patient = Patient("Quagga^Zebedee", "ID-4711", "19510203", "20240506")
    volume = OCTVolume(np.zeros((2, 16, 16), np.uint8))
    exam = Exam(volume, laterality="OS", device="Test device", format="test", patient=patient)
    add(recent, owner, place(tmp_path / "a.vol"), exam)
    text = file.read_text()
    (row,) = json.loads(text)
    assert set(row) == {"path", "part", "within", "number", "eye", "images", "device"}
    for secret in ("Quagga", "Zebedee", "4711", "1951", "202405"):
        assert secret not in text.replace(str(tmp_path), "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_what_a_user_recognises(recent, owner, tmp_path):
    add(recent, owner, ExamPlace(str(tmp_path / "a.E2E"), "OD, series 2", str(tmp_path)))
    assert recent.exams[0].words == "OD · OCT, IR · Test device · a.E2E (OD, series 2)"


def test_forgotten_ones_leave_no_file(recent, owner, file, tmp_path):
    add(recent, owner, place(tmp_path / "a.vol"))
    assert file.exists()
    recent.forget()
    owner.run_until(lambda: not recent.exams)
    assert not file.exists()


def test_which_are_gone(recent, owner, tmp_path):
    here = eye(tmp_path / "here.npy")
    add(recent, owner, place(here))
    add(recent, owner, place(tmp_path / "gone.npy"))
    owner.run_until(lambda: recent.gone)
    assert [exam.place.name for exam in recent.gone] == ["gone.npy"]
    here.unlink()
    recent.look()
    owner.run_until(lambda: len(recent.gone) == 2)


@pytest.mark.parametrize(
    "text", ["", "[", "{}", '[{"path": 1}]', '["a"]', '[{"path": "a"}]', "7", "\0"]
)
def test_a_damaged_file_is_an_empty_list(text, file, owner, tmp_path):
    file.parent.mkdir()
    file.write_text(text)
    recent = RecentExams(owner)
    add(recent, owner, place(tmp_path / "a.vol"))
    assert names(recent) == ["a.vol"]


def test_a_folder_that_cannot_be_written_stops_nobody(recent, owner, file, tmp_path):
    file.parent.write_text("a file where the folder should be")
    add(recent, owner, place(tmp_path / "a.vol"))
    assert names(recent) == ["a.vol"]


class Bench:
    """Opens paths and notes them, as the dock does."""

    def __init__(self, owner, recent):
        self.owner, self.recent = owner, recent
        self.session = Session()
        self.shown, self.asked = [], []
        self.opener = ExamOpener(
            self.session, owner, self.shown.append, self.asked.append, recent.add
        )

    def open(self, path):
        self.opener.open_paths([path])
        self.owner.run_until(lambda: self.recent.exams)


@pytest.fixture
def bench(owner, recent):
    return Bench(owner, recent)


def test_what_is_opened_is_noted_and_opens_again(bench, tmp_path):
    bench.open(eye(tmp_path / "eye.npy", 7))
    again = bench.recent.exams[0].read()
    assert again.volume.voxels.max() == 7


def test_what_cannot_be_opened_is_not_noted(bench, owner, tmp_path, file):
    (tmp_path / "bad.vol").write_bytes(b"no exam")
    bench.opener.open_paths([tmp_path / "bad.vol"])
    owner.run_until(lambda: bench.session.error)
    assert bench.recent.exams == ()
    assert not file.exists()


def test_the_one_chosen_of_several_opens_again(bench, owner, tmp_path):
    folder = tmp_path / "visit"
    folder.mkdir()
    for number in range(3):
        eye(folder / f"{number}.npy", number)
    bench.opener.open_paths([folder])
    owner.run_until(lambda: bench.asked and bench.asked[0].done)
    bench.opener.open_listed(bench.asked[0].exams[1])
    owner.run_until(lambda: bench.recent.exams)
    assert names(bench.recent) == ["1.npy"]
    assert bench.recent.exams[0].read().volume.voxels.max() == 1


def test_a_folder_of_bscans_opens_again(bench, tmp_path):
    folder = tmp_path / "eye"
    folder.mkdir()
    for z in range(3):
        Image.fromarray(np.full((16, 24), z, np.uint8)).save(folder / f"{z}.png")
    bench.open(folder)
    assert bench.recent.exams[0].read().volume.shape == (3, 16, 24)


def test_a_series_is_found_where_it_was_opened(monkeypatch, tmp_path):
    """Its first file by itself is one B-scan, and a photograph may lie in another folder."""
    from fakes import make_entry

    first, photograph = tmp_path / "a" / "1.dcm", make_exam().enface[0]
    first.parent.mkdir()
    first.touch()
    alone = Exam(OCTVolume(np.zeros((1, 16, 16), np.uint8)))
    whole = Exam(OCTVolume(np.zeros((4, 16, 16), np.uint8)), (photograph,))

    def find(path):
        series = path == tmp_path
        part = "4 files" if series and stacked else ""
        yield make_entry(first, lambda: whole if series else alone, part=part)

    monkeypatch.setattr("octcube_core.find_exams", find)
    for stacked in (True, False):
        where = ExamPlace(str(first), "4 files" if stacked else "", str(tmp_path))
        assert where.read("OCT, IR") is whole


def test_one_of_several_by_its_number(monkeypatch, tmp_path):
    (tmp_path / "a.E2E").touch()
    asked = []
    monkeypatch.setattr("octcube_core.read_exam", lambda path, exam: asked.append((path, exam)))
    where = ExamPlace.numbered(tmp_path / "a.E2E", 2)
    assert where.name == "a.E2E (exam 2)"
    where.read("OCT")
    assert asked == [(tmp_path / "a.E2E", 2)]


def test_a_gone_exam_is_one_sentence(tmp_path):
    with pytest.raises(OCTCubeError, match=r"^gone\.npy is no longer in .*; open it from where"):
        place(tmp_path / "gone.npy").read("OCT")


def test_an_exam_that_left_its_file_is_one_sentence(tmp_path):
    here = str(eye(tmp_path / "eye.npy"))
    with pytest.raises(OCTCubeError, match=r"series 2\) is no longer there; open eye\.npy"):
        ExamPlace(here, "series 2", here).read("OCT")


def test_the_list_is_never_longer_than_it_says(file, owner, tmp_path):
    row = {"part": "", "within": "", "number": 0, "eye": "", "images": "", "device": ""}
    file.parent.mkdir()
    file.write_text(json.dumps([{"path": f"/{n}", **row} for n in range(500)]))
    recent = RecentExams(owner)
    owner.run_until(lambda: recent.exams)
    assert len(recent.exams) == _recent.MOST
