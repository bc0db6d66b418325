"""What goes wrong while the real model process works: one sentence says so, and the next run works."""

import os
import re
import signal
import sys
from pathlib import Path

import pytest
from real_runs import (
    NETWORK,
    assert_result,
    eye,
    press_run,
    reach,
    run,
    sentence,
    show,
)

from napari_octcube._model_process import WORKER_COMMAND

pytestmark = [pytest.mark.xvfb, pytest.mark.slow]
HERE = Path(__file__).parent


@pytest.fixture
def shown(open_dock, qtbot):
    """A function that makes (viewer, dock, exam in view) with the real model process."""

    def opener(command=WORKER_COMMAND):
        viewer, dock = open_dock(command, show=True)
        return viewer, dock, show(dock, qtbot, eye())

    return opener


@pytest.mark.skipif(os.name == "nt", reason="kills with a POSIX signal")
@pytest.mark.parametrize("stage", ["Loading the model", NETWORK])
def test_a_model_process_killed_during_a_run_is_told_and_run_starts_it_again(shown, qtbot, stage):
    _, dock, exam = shown()
    press_run(dock, qtbot)
    reach(dock, qtbot, stage)
    killed = dock.client.pid
    os.kill(killed, signal.SIGKILL)
    qtbot.waitUntil(lambda: dock.session.running is None)
    assert sentence(dock) == (
        "The model process stopped during the analysis (killed, perhaps for lack of memory); "
        "press Run to start it again."
    )
    assert dock.scene.overlay is None
    run(dock, qtbot)
    assert_result(dock, exam)
    assert dock.client.pid != killed


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory as Linux does")
def test_memory_that_runs_out_is_told_with_a_way_out_and_run_works_when_there_is_some(
    shown, qtbot, tmp_path, monkeypatch, capfd
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # a thread that finds no memory ends the process
    scarce = tmp_path / "scarce"
    _, dock, exam = shown((sys.executable, str(HERE / "short_of_memory_worker.py"), str(scarce)))
    run(dock, qtbot)
    assert_result(dock, exam)
    pid = dock.client.pid
    scarce.touch()
    larger = show(dock, qtbot, eye(4, shape=(40, 256, 256)))
    run(dock, qtbot)
    assert re.fullmatch(r"Memory ran out.*; close other programs.*\.", sentence(dock))
    assert "Traceback" not in capfd.readouterr().err
    assert dock.scene.overlay is None
    scarce.unlink()
    run(dock, qtbot)
    assert_result(dock, larger)
    assert dock.client.pid == pid


def test_an_exam_closed_during_its_run_gets_no_result_and_the_next_exam_does(shown, qtbot):
    viewer, dock, _ = shown()
    press_run(dock, qtbot)
    reach(dock, qtbot)
    viewer.layers.remove(dock.scene.layer)
    qtbot.waitUntil(lambda: dock.session.exam is None)
    bar = dock.analysis_tab.run_bar
    qtbot.waitUntil(lambda: dock.session.running is None)
    assert sentence(dock) == ""
    assert not bar.run_button.isEnabled()
    following = show(dock, qtbot, eye(5, ("AMD",), (10, 64, 64)))
    assert (dock.session.analysis, dock.scene.overlay) == (None, None)
    run(dock, qtbot)
    assert_result(dock, following)
    assert len(viewer.layers) == 2


def test_an_exam_replaced_during_its_run_takes_its_result_with_it(shown, qtbot):
    _, dock, _ = shown()
    following = eye(5, ("AMD",), (10, 64, 64))
    press_run(dock, qtbot)
    reach(dock, qtbot)
    show(dock, qtbot, following)
    qtbot.waitUntil(lambda: dock.session.running is None)
    assert (dock.session.analysis, dock.scene.overlay) == (None, None)
    assert dock.analysis_tab.score_table.isHidden()
    run(dock, qtbot)
    assert_result(dock, following)
