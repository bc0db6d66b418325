"""``octcube-viewer`` closed or killed amid a run, with the real model process: nothing of it goes on."""

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import psutil
import pytest
from real_runs import NETWORK

pytestmark = [pytest.mark.xvfb, pytest.mark.slow]

PATIENCE_S = 10
SAYS_ITS_STAGES = """
    import sys
    from napari_octcube._session import Session
    from napari_octcube.__main__ import main

    progress = Session.progress

    def telling(session, stage, fraction):
        print(stage, flush=True)
        progress(session, stage, fraction)
        if stage == sys.argv[1]:
            close()

    def close():
        import napari
        from qtpy.QtCore import QTimer
        QTimer.singleShot(0, napari.current_viewer().close)

    Session.progress = telling
    sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture
def viewer(needs_pixels, tmp_path):
    """A function that starts the viewer with arguments, which closes itself in a stage."""
    processes = []

    def start(closes_in, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(SAYS_ITS_STAGES), closes_in, *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "NAPARI_CONFIG": str(tmp_path / "settings.yaml")},
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("end", ["window", "SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("stage", ["Loading the model", NETWORK])
def test_no_process_stays_behind(viewer, stage, end):
    process = viewer(stage if end == "window" else "never", "--demo")
    told = iter(process.stdout.readline, "")
    family = []
    for line in told:
        family += psutil.Process(process.pid).children(recursive=True)
        if line.strip() == stage:
            break
    assert any("octcube_core.worker" in part.cmdline() for part in family)
    if end != "window":
        process.send_signal(signal.Signals[end])
    _, alive = psutil.wait_procs(family, timeout=PATIENCE_S)
    assert not [part.cmdline() for part in alive]
    code = process.wait(PATIENCE_S)
    assert code == (0 if end == "window" else -signal.Signals[end])


ANALYSES_A_FOLDER = """
    import queue, sys
    from napari_octcube._background_command import BackgroundCommand

    calls = queue.SimpleQueue()
    arguments = ("-m", "octcube_core.cli", "analyze", sys.argv[1], "--out", sys.argv[2])
    options = ("--model", "demo", "--json")
    say = lambda line: print(line, flush=True)
    command = BackgroundCommand((*arguments, *options), calls.put, say, lambda *end: say(end))
    command.start()
    while True:
        calls.get()()
"""


def test_a_folder_s_analysis_ends_with_a_killed_viewer(tmp_path):
    folder, table = tmp_path / "exams", tmp_path / "scores.csv"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(60):
        np.save(folder / f"{number}.npy", rng.integers(0, 255, (24, 128, 128), np.uint8))
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(ANALYSES_A_FOLDER), folder, table],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stdout:
            if "Looking for exams" in line:
                break
        family = psutil.Process(process.pid).children(recursive=True)
        assert family
        process.kill()
    _, alive = psutil.wait_procs(family, timeout=PATIENCE_S)
    assert not [part.cmdline() for part in alive]
    assert not table.exists()  # the analysis was not simply over
