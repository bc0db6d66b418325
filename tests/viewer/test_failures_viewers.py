"""Two viewers at once, each with its dock and its real model process."""

import psutil
import pytest
from real_runs import assert_result, eye, press_run, reach, run, sentence, show

from napari_octcube._model_process import WORKER_COMMAND
from napari_octcube._recall import RECALLED
from napari_octcube._scene import Scene

pytestmark = [pytest.mark.xvfb, pytest.mark.slow]


@pytest.fixture
def two(open_dock, monkeypatch):
    """Two (viewer, dock), without scale bars: napari's own fail with two canvases (GLError), without OCTCube, too."""
    monkeypatch.setattr(Scene, "_update_scale_bar", lambda self, event=None: None)
    return [open_dock(WORKER_COMMAND, show=True) for _ in range(2)]


def test_results_do_not_mix_and_closing_one_viewer_leaves_the_other(two, qtbot):
    (first_viewer, first), (_, second) = two
    exams = eye(3, ("DME",), (12, 64, 48)), eye(5, ("AMD",), (10, 64, 64))
    for dock, exam in zip((first, second), exams, strict=True):
        show(dock, qtbot, exam)
    for dock in (first, second):
        press_run(dock, qtbot)
    assert first.client.pid != second.client.pid
    qtbot.waitUntil(lambda: not (first.session.running or second.session.running), timeout=90_000)
    for dock, exam in zip((first, second), exams, strict=True):
        assert_result(dock, exam)
        assert len(dock.scene.layer.data) == len(exam.volume.voxels)
    other = second.session.disease
    first.session.disease = next(
        name
        for name in first.session.analysis.targets
        if name not in (other, first.session.disease)
    )
    assert second.session.disease == other
    # what one has found and kept, the other knows at once
    qtbot.waitUntil(lambda: len(list(first.recall.cache.folder.glob("*.npz"))) == 2)
    again = show(second, qtbot, eye(3, ("DME",), (12, 64, 48)))
    qtbot.waitUntil(lambda: second.session.analysis is not None)
    assert second.session.stage == RECALLED
    assert_result(second, again)
    assert second.session.analysis.scores == first.session.analysis.scores
    # one closes amid a run, the other runs on
    gone = psutil.Process(first.client.pid)
    press_run(second, qtbot)
    press_run(first, qtbot)
    reach(first, qtbot)
    first_viewer.close()
    gone.wait(timeout=5)
    qtbot.waitUntil(lambda: second.session.running is None, timeout=90_000)
    assert_result(second, again)


def test_a_model_process_that_dies_is_told_in_its_own_viewer_alone(two, qtbot):
    (_, first), (_, second) = two
    exam = show(first, qtbot, eye())
    show(second, qtbot, eye(5, ("AMD",)))
    psutil.Process(second.client.pid).kill()
    qtbot.waitUntil(lambda: sentence(second) != "")
    assert sentence(first) == ""
    run(first, qtbot)
    assert_result(first, exam)
