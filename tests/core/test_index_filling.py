"""Folders into an index: what was added, known, moved, changed, gone, damaged, labelled."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from indexed_archive import archive, write_array

from octcube_core.checkpoints import load_model
from octcube_core.embedding import embed, embedding_inputs
from octcube_core.errors import EmbeddingIndexError, InputError
from octcube_core.models.family import Model
from octcube_core.readers import read_exam
from octcube_core.retrieval import EmbeddingIndex, FillReport, index_folder
from octcube_core.retrieval.label_table import LabelTable
from octcube_core.retrieval.records import Location


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("demo-coep", device="cpu", precision="fp32")


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """Names of the files that were read, in this process, so that no test waits for others to begin."""
    names: list[str] = []

    class Here:
        def __init__(self, function, workers, start, arguments, lost) -> None:
            self.function, self.entries = function, pickle.loads(arguments[1])
            start(*arguments)

        def results(self, numbers):
            for number in numbers:
                names.append(self.entries[number][0][0].name)
                yield number, self.function(number)

    monkeypatch.setattr(fill_module(), "OrderedPool", Here)
    return names


def fill_module():
    import octcube_core.retrieval.fill as module

    return module


@pytest.fixture
def index(tmp_path, configuration):
    with EmbeddingIndex(tmp_path / "eyes.octindex") as opened:
        yield opened


def counts(report: FillReport) -> tuple[int, int, int, int]:
    return report.added, report.known, report.removed, len(report.failures)


def where(index: EmbeddingIndex) -> dict[str, Path | None]:
    """By the content of the exam that lies there now: what the index says of each place must be true."""
    places = {}
    for _, content, location, _ in index.places():
        if location is not None and location.path.exists():
            assert index.secret.content(read_exam(location.path)) == content
        places[content] = None if location is None else location.path
    return places


def test_what_is_there_is_not_read_again(tmp_path, index, model, read):
    files = archive(tmp_path / "exams", 11)
    assert counts(index_folder(tmp_path / "exams", index, model)) == (11, 0, 0, 0)
    assert len(read) == 11
    assert set(where(index).values()) == set(files)
    for file in files[:3]:
        exam = read_exam(file)
        (found,) = index.search(embed(exam, model), k=1)
        assert found.similarity == pytest.approx(1, abs=1e-3)
        assert found.location == Location(file)
        assert index.find(exam) == found.exam
        assert set(index.thumbnails([found])) == {found.item}
        assert file not in [n.location.path for n in index.search(embed(exam, model), exam=exam)]
    read.clear()
    assert counts(index_folder(tmp_path / "exams", index, model)) == (0, 11, 0, 0)
    assert read == []
    archive(tmp_path / "exams", 2, first=11)
    several = [tmp_path / "exams" / "visit 11", tmp_path / "exams", str(tmp_path / "exams")]
    assert counts(index_folder(several, index, model)) == (2, 11, 0, 0)
    assert sorted(read) == ["eye 11.npy", "eye 12.npy"]


def test_a_damaged_exam_among_good_ones_is_one_failure(tmp_path, index, model, read):
    files = archive(tmp_path / "exams", 4)
    files[1].write_bytes(files[1].read_bytes()[:-99])
    progress = []
    report = index_folder(
        tmp_path / "exams", index, model, on_progress=lambda *told: progress.append(told)
    )
    assert counts(report) == (3, 0, 0, 1)
    ((name, text),) = report.failures
    assert "eye 1.npy" in name
    assert "\n" not in text
    assert progress[-1] == ("4 of 4 exams, 1 could not be read", 1.0)
    write_array(files[1], 1)
    assert counts(index_folder(tmp_path / "exams", index, model)) == (1, 3, 0, 0)


def test_an_exam_that_cannot_be_embedded_costs_the_others_nothing(
    tmp_path, index, model, read, monkeypatch
):
    files = archive(tmp_path / "exams", 5)
    embedded = fill_module().embed_inputs

    def fails_with_bright(model, exams):
        if any(float(each["OCT"].mean()) > limit for each in exams):
            raise InputError("The embeddings are not finite; run the model in fp32.")
        return embedded(model, exams)

    means = [float(embedding_inputs(read_exam(file), model.card)["OCT"].mean()) for file in files]
    limit = sum(sorted(means)[-2:]) / 2
    monkeypatch.setattr(fill_module(), "embed_inputs", fails_with_bright)
    report = index_folder(tmp_path / "exams", index, model)
    assert counts(report) == (4, 0, 0, 1)
    assert report.failures == [
        (str(files[int(np.argmax(means))]), "The embeddings are not finite; run the model in fp32.")
    ]


def test_moved_copied_and_changed_files(tmp_path, index, model, read):
    folder = tmp_path / "exams"
    files = archive(folder, 5)
    index_folder(folder, index, model)
    first = {path: content for content, path in where(index).items()}
    numbers = {content: number for number, content, _, _ in index.places()}
    files[0].rename(folder / "moved.npy")
    shutil.copy(files[1], folder / "copy.npy")
    write_array(files[2], 77)
    os.utime(files[3], (10**9, 10**9))  # touched, not changed
    assert counts(index_folder(folder, index, model)) == (1, 5, 0, 0)
    now = where(index)
    assert len(now) == 5
    assert now[first[files[0]]] == folder / "moved.npy"
    assert now[first[files[1]]] == files[1]
    assert first[files[2]] not in now
    assert {number: content for number, content, _, _ in index.places()}[
        numbers[first[files[0]]]
    ] == first[files[0]]
    # The first of two copies goes: the other takes its place.
    files[1].unlink()
    index_folder(folder, index, model)
    assert where(index)[first[files[1]]] == folder / "copy.npy"


def test_files_that_change_places_are_not_mixed_up(tmp_path, index, model, read):
    folder = tmp_path / "exams"
    files = archive(folder, 6)
    index_folder(folder, index, model)
    index.label(index.find(read_exam(files[0])), ["AMD"])
    # 0 and 1 change places, 2 becomes a copy of 3, 4 and 5 move up by one.
    files[0].rename(folder / "between")
    files[1].rename(files[0])
    (folder / "between").rename(files[1])
    shutil.copyfile(files[3], files[2])
    files[5].rename(folder / "visit 5" / "eye 6.npy")
    files[4].rename(files[5])
    index_folder(folder, index, model)
    places = where(index)  # which looks into each file
    assert set(places.values()) == {
        files[0],
        files[1],
        files[3],
        files[5],
        folder / "visit 5" / "eye 6.npy",
    }
    assert index.labels_of([index.find(read_exam(files[1]))]).popitem()[1] == ("AMD",)
    assert counts(index_folder(folder, index, model, sync=True))[:1] == (0,)
    assert len(index) == 5


def test_what_is_gone_is_removed_when_asked_and_never_of_an_absent_drive(
    tmp_path, index, model, read
):
    folder, drive = tmp_path / "exams", tmp_path / "drive"
    files, others = archive(folder, 3), archive(drive, 2, first=10)
    index_folder([folder, drive], index, model)
    files[0].unlink()
    shutil.rmtree(files[1].parent)
    assert counts(index_folder(folder, index, model)) == (0, 1, 0, 0)
    assert len(index) == 5
    drive.rename(tmp_path / "elsewhere")
    report = index_folder([folder, drive], index, model, sync=True)
    assert counts(report) == (0, 1, 2, 1)  # the drive itself is the failure
    assert "does not exist" in report.failures[0][1]
    drive.mkdir()
    assert index_folder(drive, index, model, sync=True).removed == 0
    assert set(where(index).values()) == {files[2], *others}
    missing = index_folder("~no-such-user-at-all/exams", index, model, sync=True)
    assert len(missing.failures) == 1


def test_a_run_that_is_stopped_keeps_what_it_added(tmp_path, index, model, read):
    archive(tmp_path / "exams", 20)

    def stop(words: str, fraction: float) -> None:
        if fraction > 0.6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        index_folder(tmp_path / "exams", index, model, on_progress=stop)
    assert len(index) == fill_module().BATCH
    read.clear()
    assert counts(index_folder(tmp_path / "exams", index, model)) == (12, 8, 0, 0)
    assert len(read) == 12


def test_another_model_is_refused_before_anything_is_read(tmp_path, index, model, read):
    archive(tmp_path / "exams", 2)
    index_folder(tmp_path / "exams", index, model)
    archive(tmp_path / "exams", 1, first=5)
    read.clear()
    with pytest.raises(EmbeddingIndexError, match="was made by"):
        index_folder(tmp_path / "exams", index, load_model("demo-mae", device="cpu"))
    with pytest.raises(InputError, match="scores no diseases"):
        index_folder(tmp_path / "exams", index, model, scorer=model)
    assert read == []


def test_scores_of_a_classifier(tmp_path, index, model, read):
    (file,) = archive(tmp_path / "exams", 1)
    scorer = load_model("demo", device="cpu", precision="fp32")
    index_folder(tmp_path / "exams", index, model, scorer=scorer)
    from octcube_core.analysis import analyze

    exam = read_exam(file)
    (found,) = index.search(embed(exam, model))
    wanted = {each.abbreviation: each.probability for each in analyze(exam, scorer).scores}
    assert wanted
    assert found.scores == pytest.approx(wanted, abs=1e-5)


def test_a_folder_for_each_patient(tmp_path, index, model, read):
    folder = tmp_path / "exams"
    for number, name in enumerate(("anna/1.npy", "anna/2.npy", "berta/3.npy", "4.npy")):
        write_array(folder / name, number)
    index_folder(folder, index, model, patient_folders=True)
    (found,) = index.search(embed(read_exam(folder / "anna" / "1.npy"), model), k=1)
    who = found.identity
    neighbours = index.search(embed(read_exam(folder / "anna" / "1.npy"), model), exam=who)
    same = {n.location.path.name: n.identity.patient == who.patient for n in neighbours}
    assert same == {"2.npy": True, "3.npy": False, "4.npy": False}
    assert {n.location.path.name: n.identity.patient for n in neighbours}["4.npy"] is None


def test_labels_and_new_labels_of_known_exams(tmp_path, index, model, read):
    folder = tmp_path / "exams"
    files = archive(folder, 3)
    table = LabelTable({files[0]: ("AMD",), files[1].parent: ("DME", "ERM")})
    index_folder(folder, index, model, labels=table)
    labelled = {f: index.labels_of([index.find(read_exam(f))]) for f in files}
    assert [list(each.values()) for each in labelled.values()] == [[("AMD",)], [("DME", "ERM")], []]
    index.label(index.find(read_exam(files[2])), ["by hand"])
    read.clear()
    table = LabelTable({files[0]: ("CNV",), files[1]: ()})
    report = index_folder(folder, index, model, labels=table)
    assert (counts(report), report.relabelled, read) == ((0, 3, 0, 0), 2, [])
    assert index.distinct("label") == ["CNV", "by hand"]
    assert index_folder(folder, index, model, labels=table).relabelled == 0


def test_nothing_to_do_needs_no_model(tmp_path, index, model, read):
    archive(tmp_path / "exams", 2)
    index_folder(tmp_path / "exams", index, model)
    plan = fill_module().plan_filling([tmp_path / "exams"], index)
    assert (len(plan.todo), plan.known) == (0, 2)
    assert fill_module().fill(plan, index, None, sync=True).known == 2
