"""The client with the real process machinery; only the engine in the process is fake. No Qt."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import make_analysis, make_exam

from napari_octcube._inference import InferenceClient
from napari_octcube._session import Session
from octcube_core.exam import Patient


@pytest.fixture
def session():
    session = Session()
    session.show_exam(replace(make_exam(), patient=Patient(name="Somebody")))
    return session


@pytest.fixture
def client(session, owner, fake_worker):
    client = InferenceClient(session, owner, fake_worker)
    yield client
    client.close()


def run(client, session, owner, model):
    session.model = model
    client.submit()
    owner.run_until(lambda: session.running is None)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat").read_text()
    return status.rsplit(")", 1)[1].split()[0] != "Z"  # a zombie is dead


def wait_until_gone(pid, timeout):
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if not is_alive(pid):
            return True
        time.sleep(0.02)
    return False


def test_analysis_arrives_with_progress_and_device(client, session, owner):
    stages = []
    session.events.stage.connect(stages.append)
    run(client, session, owner, "demo")
    assert session.error == ""
    expected = make_analysis(session.exam)
    assert session.analysis.scores == expected.scores
    assert (session.analysis.saliency == expected.saliency).all()
    assert "Looking at the eye" in stages
    assert session.device == "Fake GPU"


def test_process_and_model_stay_warm(client, session, owner):
    stages = []
    session.events.stage.connect(stages.append)
    run(client, session, owner, "demo")
    pid = client.pid
    run(client, session, owner, "demo")
    assert client.pid == pid
    assert "Load number 2" not in stages
    run(client, session, owner, "another")
    assert "Load number 2" in stages


def test_bad_model_gives_its_sentence(client, session, owner):
    run(client, session, owner, "missing")
    assert session.error == "There is no model called 'missing'."
    run(client, session, owner, "demo")
    assert session.analysis is not None


def test_bug_gives_one_sentence_and_the_next_run_works(client, session, owner, capfd):
    run(client, session, owner, "bug")
    assert "unexpected error (ZeroDivisionError)" in session.error
    assert "\n" not in session.error
    assert "a bug in the model" in capfd.readouterr().err
    run(client, session, owner, "demo")
    assert session.analysis is not None


@pytest.mark.skipif(os.name == "nt", reason="kills with a POSIX signal")
def test_killed_process_is_told_and_the_next_run_works(client, session, owner):
    run(client, session, owner, "killed")
    assert session.error.startswith("The model process stopped during the analysis (killed")
    assert client.pid is None
    run(client, session, owner, "demo")
    assert session.error == ""
    assert session.analysis is not None


def test_process_killed_between_runs_is_told_and_restarted(client, session, owner):
    run(client, session, owner, "demo")
    os.kill(client.pid, signal.SIGTERM)
    owner.run_until(lambda: session.error != "")
    assert session.error == "The model process stopped; press Run to start it again."
    run(client, session, owner, "demo")
    assert session.error == ""


def test_process_that_cannot_start_is_told(session, owner, tmp_path):
    client = InferenceClient(session, owner, (str(tmp_path / "no-such-program"),))
    run(client, session, owner, "demo")
    assert "could not be started" in session.error


def test_process_that_ends_before_connecting_is_told(session, owner):
    client = InferenceClient(session, owner, (sys.executable, "-c", "raise SystemExit(3)"))
    run(client, session, owner, "demo")
    assert "stopped during the analysis" in session.error


@pytest.mark.parametrize("model", ["endless", "slow to load"])
def test_cancel_within_a_second(client, session, owner, model):
    session.model = model
    client.submit()
    wanted = "Looking at the eye" if model == "endless" else "Loading the model"
    owner.run_until(lambda: session.stage == wanted)
    start = time.monotonic()
    client.cancel()
    owner.run_until(lambda: session.running is None)
    assert time.monotonic() - start < 1.0
    assert (session.stage, session.error) == ("Cancelled", "")
    run(client, session, owner, "demo")
    assert session.analysis is not None


def test_closing_the_exam_cancels_its_run(client, session, owner):
    session.model = "endless"
    client.submit()
    owner.run_until(lambda: session.stage == "Looking at the eye")
    session.close_exam(session.exam)
    owner.run_until(lambda: session.running is None, timeout=2)
    assert session.error == ""


def test_closing_the_client_ends_the_process(client, session, owner):
    session.model = "endless"
    client.submit()
    owner.run_until(lambda: session.stage == "Looking at the eye")
    pid = client.pid
    client.close()
    assert wait_until_gone(pid, timeout=2)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")
def test_no_orphan_when_the_viewer_is_killed(fake_worker):
    viewer = """
        import queue, sys
        from fakes import make_exam
        from napari_octcube._inference import InferenceClient
        from napari_octcube._session import Session
        calls, session = queue.SimpleQueue(), Session()
        session.show_exam(make_exam())
        session.model = "endless"
        client = InferenceClient(session, calls.put, sys.argv[1:])
        client.submit()
        while session.stage != "Looking at the eye":
            calls.get()()
        print(client.pid, flush=True)
        while True:
            calls.get()()
    """
    here = str(Path(__file__).parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([here, *sys.path])}
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(viewer), *fake_worker],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        pid = int(process.stdout.readline())
        assert is_alive(pid)
        process.kill()
    assert wait_until_gone(pid, timeout=2)
