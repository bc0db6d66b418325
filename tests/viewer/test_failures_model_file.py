"""Files chosen as a model that are none: one sentence from the real model process, and a good model works next."""

import pytest
from damaged_models import DAMAGE, whole, write
from real_runs import assert_result, eye, run, sentence, show

from napari_octcube._model_process import WORKER_COMMAND
from napari_octcube._widgets.model_chooser import OPEN_FILE

pytestmark = [pytest.mark.xvfb, pytest.mark.slow]


@pytest.fixture
def choose(monkeypatch):
    """A function that chooses a file by the last entry of a dock's model chooser."""

    def chooser_of(dock, path):
        monkeypatch.setattr(
            "napari_octcube._widgets.model_chooser.QFileDialog.getOpenFileName",
            lambda *_: (str(path), ""),
        )
        box = dock.analysis_tab.model_chooser
        box.activated.emit(box.findText(OPEN_FILE))
        assert box.currentText() == path.name

    return chooser_of


def test_each_gives_its_sentence_and_a_good_file_works(
    open_dock, choose, qtbot, tmp_path, capfd
):  # in one process, as loading torch takes longest
    _, dock = open_dock(WORKER_COMMAND, show=True)
    exam = show(dock, qtbot, eye())
    said = {}
    for damage in DAMAGE:
        path = tmp_path / f"{damage}.safetensors"
        harm = write(path, damage)
        choose(dock, path)
        run(dock, qtbot)
        assert not harm.exists()
        assert dock.session.analysis is None
        said[damage] = sentence(dock)
    for damage, text in said.items():
        assert text.endswith("."), damage
        assert "\n" not in text
        assert "unexpected error" not in text, text
        assert damage in text or "model card" in text, "the file is named"
    assert "newer version; please update" in said["a card of a newer version"]
    assert "Traceback" not in capfd.readouterr().err
    choose(dock, tmp_path / "good.safetensors")
    run(dock, qtbot)
    assert "There is no model or file" in sentence(dock)
    (tmp_path / "good.safetensors").write_bytes(whole())
    run(dock, qtbot)
    assert_result(dock, exam)


def test_a_file_damaged_after_a_good_run_is_read_again(open_dock, choose, qtbot, tmp_path):
    _, dock = open_dock(WORKER_COMMAND, show=True)
    exam = show(dock, qtbot, eye())
    path = tmp_path / "mine.safetensors"
    path.write_bytes(whole())
    choose(dock, path)
    run(dock, qtbot)
    assert_result(dock, exam)
    path.write_bytes(whole()[:5000])
    run(dock, qtbot)
    assert "mine.safetensors is damaged" in sentence(dock)
