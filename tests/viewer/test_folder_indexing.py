from pathlib import Path

import numpy as np
import pytest

import octcube_core as oc
from napari_octcube._folder_indexing import FolderIndexing
from octcube_core.phantom import make_exam

PATIENCE_S = 120  # the real command loads torch


@pytest.fixture
def indexing(similar, owner, tmp_path):
    similar.open_archive(str(tmp_path / "eyes.octindex"), create=True)
    owner.run_until(lambda: similar.state.archive is not None)
    indexing = FolderIndexing(similar, owner)
    yield indexing
    indexing.close()


def make_folder(folder, eyes):
    folder.mkdir()
    for number in range(eyes):
        exam = make_exam(number, shape=(9, 64, 64))
        np.save(folder / f"{number}.npy", exam.volume.voxels)
    return folder


@pytest.mark.slow
def test_indexes_a_folder_and_reports_what_failed(similar, indexing, owner, tmp_path):
    folder = make_folder(tmp_path / "exams", 3)
    (folder / "damaged.npy").write_bytes(b"\x93NUMPY damaged")
    stages = []
    similar.state.events.indexing.connect(stages.append)
    indexing.start(folder)
    indexing.start(folder)  # one at a time
    owner.run_until(lambda: similar.state.note or similar.state.error, PATIENCE_S)
    owner.run_until(lambda: similar.state.archive.counts["exams"] == 3)
    assert similar.state.note.startswith("3 exams added, 0 were there; 1 exam could not be read")
    assert any("of 4 exams" in stage for stage in stages)
    assert stages[-1] == ""
    assert similar.state.archive.model.source == "demo-coep"


@pytest.mark.slow
def test_what_was_added_before_a_stop_stays_and_the_rest_follows(
    similar, indexing, owner, tmp_path
):
    folder = make_folder(tmp_path / "exams", 40)

    def added():
        with oc.EmbeddingIndex(similar.state.archive.address) as index:
            return len(index)

    indexing.start(folder)
    owner.run_until(lambda: similar.state.fraction > 0.3 or similar.state.note, PATIENCE_S)
    indexing.stop()
    owner.run_until(lambda: not similar.state.indexing, PATIENCE_S)
    assert "what was indexed stays" in similar.state.note
    before = added()
    assert 0 < before < 40
    indexing.start(folder)
    owner.run_until(lambda: "exams added" in similar.state.note, PATIENCE_S)
    assert similar.state.note.startswith(f"{40 - before} exams added, {before} were there")
    assert added() == 40


def test_a_folder_without_exams_is_one_sentence(similar, indexing, owner, tmp_path):
    (tmp_path / "empty").mkdir()
    indexing.start(Path(tmp_path / "empty"))
    owner.run_until(lambda: similar.state.error or similar.state.note, PATIENCE_S)
    assert "empty" in similar.state.error
    assert "\n" not in similar.state.error
    assert "octcube: error" not in similar.state.error
