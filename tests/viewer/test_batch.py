"""A folder's analysis without any widget: what is handed over, and how a run ends."""

import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from napari_octcube import _batch
from napari_octcube._batch import (
    DIED,
    PORTION,
    STOPPED,
    FolderAnalysis,
    default_table,
    reader_of_row,
)
from napari_octcube._batch_rows import BatchRow
from octcube_core.errors import ExamReadError
from octcube_core.phantom import make_exam
from octcube_core.readers import find_exams

FAKE = (str(Path(__file__).parent / "fake_batch.py"),)
PATIENCE_S = 120  # the real command loads torch


class Listener:
    """What an observer of a run gets."""

    def __init__(self, analysis):
        self.portions, self.about, self.stages = [], [], []
        analysis.added.connect(self.portions.append)
        analysis.described.connect(self.about.append)
        analysis.state.events.stage.connect(self.stages.append)

    @property
    def rows(self):
        return [row for portion in self.portions for row in portion]


@pytest.fixture
def analysis(owner):
    analysis = FolderAnalysis(owner, FAKE)
    yield analysis
    analysis.close()


@pytest.fixture
def run(analysis, owner, tmp_path):
    """A function that analyses a folder of a name to the end; the listener."""

    def to_the_end(name):
        listener = Listener(analysis)
        (tmp_path / name).mkdir(exist_ok=True)
        analysis.start(tmp_path / name, "demo", tmp_path / "table.parquet")
        owner.run_until(lambda: not analysis.state.running)
        return listener

    return to_the_end


def test_every_row_in_order_and_what_was_done(run, analysis, tmp_path):
    listener = run("12 exams")
    assert [row.name for row in listener.rows] == [f"{n}.npy" for n in range(12)]
    assert listener.about[0]["probability_DME"]["name"] == "Diabetic macular edema"
    assert [row.error for row in listener.rows if row.error] == ["9.npy is damaged; copy it again."]
    table = tmp_path / "table.parquet"
    assert analysis.state.note == f"11 exams analysed, 1 could not be. Results: {table}"
    assert (analysis.state.fraction, analysis.state.stage, analysis.state.error) == (1.0, "", "")


def test_thousands_of_rows_come_in_portions(run):
    listener = run("3000 exams")
    assert len(listener.rows) == 3000
    assert max(map(len, listener.portions)) <= PORTION
    assert len(listener.portions) < 300


def test_a_table_that_is_there_is_gone_on_with(run, analysis):
    run("12 exams")
    assert len(run("12 exams").rows) == 12
    assert "3 were there" in analysis.state.note


def test_stopped_it_goes_on(analysis, owner, tmp_path):
    listener = Listener(analysis)
    folder, table = tmp_path / "8 endless", tmp_path / "table.parquet"
    folder.mkdir()
    analysis.start(folder, "demo", table)
    analysis.start(folder, "demo", table)  # one at a time
    owner.run_until(lambda: len(listener.rows) == 3)
    analysis.stop()
    owner.run_until(lambda: not analysis.state.running)
    assert (analysis.state.note, analysis.state.error) == (STOPPED, "")
    analysis.start(folder, "demo", table)
    owner.run_until(lambda: not analysis.state.running)
    assert {row.name for row in listener.rows} == {f"{n}.npy" for n in range(8)}
    assert analysis.state.note.startswith("5 exams analysed, 3 were there")


def test_a_refusal_is_its_sentence_and_a_death_is_said(run, analysis):
    run("0 refused")
    assert analysis.state.error == "The folder holds no OCT exam."
    assert analysis.state.note == ""
    assert [row.name for row in run("5 killed").rows] == ["0.npy"]
    assert analysis.state.error == DIED


def test_closed_nothing_is_heard_and_nothing_runs_on(analysis, owner, tmp_path):
    listener = Listener(analysis)
    (tmp_path / "8 endless").mkdir()
    analysis.start(tmp_path / "8 endless", "demo", tmp_path / "table.parquet")
    owner.run_until(lambda: len(listener.rows) == 3)
    command = [child for child in psutil.Process().children() if FAKE[0] in child.cmdline()]
    assert len(command) == 1
    analysis.close()
    assert psutil.wait_procs(command, timeout=20)[1] == []
    heard = len(listener.stages)
    time.sleep(0.2)
    owner.run_pending()
    assert len(listener.stages) == heard


def test_where_the_table_goes(tmp_path, monkeypatch):
    folder = tmp_path / "visit 2026"
    folder.mkdir()
    assert default_table(folder) == tmp_path / "visit 2026 scores.parquet"
    monkeypatch.setattr(_batch.os, "access", lambda path, mode: False)
    assert default_table(folder).name == "visit 2026 scores.parquet"
    assert default_table(folder).parent != tmp_path


def values_of(entry, **changes):
    values = dict.fromkeys(("error", "notes", "warnings"))
    return {**values, "path": str(entry.path.resolve()), "part": entry.part or None, **changes}


def test_a_row_leads_back_to_its_exam(tmp_path):
    sys.path.append(str(Path(__file__).parents[1] / "core"))
    from heyex_files import e2e_bytes, e2e_items, patient_item, random_codes, raster

    items = [patient_item()]
    for series, side in ((1, "OD"), (2, "OS")):
        scan = raster(bscans=4, eye=side)
        items += e2e_items(scan, series, random_codes((4, 24, 40), series))
    (tmp_path / "b.E2E").write_bytes(e2e_bytes(items))
    np.save(tmp_path / "c.npy", make_exam(1, shape=(3, 64, 16)).volume.voxels)
    for entry in find_exams(tmp_path):
        exam = reader_of_row(BatchRow(values_of(entry), tmp_path), tmp_path)()
        np.testing.assert_array_equal(exam.volume.voxels, entry.read().volume.voxels)
        assert exam.laterality == entry.read().laterality
    gone = BatchRow(values_of(entry, path=str(tmp_path / "gone.npy")), tmp_path)
    with pytest.raises(ExamReadError, match="no longer there"):
        reader_of_row(gone, tmp_path)()
    changed = BatchRow(values_of(entry, path=str(tmp_path / "b.E2E"), part="OD, 9"), tmp_path)
    with pytest.raises(ExamReadError, match="no longer there"):
        reader_of_row(changed, tmp_path)()


@pytest.mark.slow
def test_the_real_command(owner, tmp_path):
    folder, table = tmp_path / "exams", tmp_path / "table.csv"
    folder.mkdir()
    for number in range(2):
        np.save(folder / f"{number}.npy", make_exam(number, shape=(3, 64, 16)).volume.voxels)
    (folder / "damaged.npy").write_bytes(b"\x93NUMPY damaged")
    analysis = FolderAnalysis(owner)
    listener = Listener(analysis)
    analysis.start(folder, "demo", table)
    owner.run_until(lambda: not analysis.state.running, PATIENCE_S)
    assert analysis.state.note == f"2 exams analysed, 1 could not be. Results: {table}"
    assert [row.name for row in listener.rows] == ["0.npy", "1.npy", "damaged.npy"]
    assert "damaged" in listener.rows[2].error
    assert set(listener.about[0]) <= set(listener.rows[0].values)
    assert len(table.read_text().splitlines()) == 4
