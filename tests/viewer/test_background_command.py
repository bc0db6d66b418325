import os
import time

import psutil
import pytest

from napari_octcube._background_command import BackgroundCommand


def run(owner, code, stop_after=None):
    lines, ends = [], []
    command = BackgroundCommand(
        ("-c", code), owner, lines.append, lambda code, errors: ends.append((code, errors))
    )
    command.start()
    if stop_after is not None:
        owner.run_until(lambda: stop_after in lines)
        command.stop()
    owner.run_until(lambda: ends)
    return lines, *ends[0]


def test_hands_over_every_line_and_the_end(owner):
    lines, code, errors = run(owner, "print('one'); print('two')")
    assert (lines, code, errors) == (["one", "two"], 0, "")


def test_hands_over_what_a_failing_command_said_last(owner):
    program = "import sys\nfor n in range(1000): print(n, file=sys.stderr)\nsys.exit(3)"
    _, code, errors = run(owner, program)
    assert code == 3
    assert errors.splitlines() == ["995", "996", "997", "998", "999"]


def test_stops_at_once(owner):
    program = (
        "import os, time; print(os.getpid(), flush=True); print('on', flush=True); time.sleep(60)"
    )
    begin = time.monotonic()
    lines, code, _ = run(owner, program, stop_after="on")
    assert code != 0
    assert time.monotonic() - begin < 30
    assert not psutil.pid_exists(int(lines[0]))


@pytest.mark.skipif(not hasattr(os, "getpriority"), reason="there are no priorities like these")
def test_runs_below_the_viewer(owner):
    program = "import os, time; time.sleep(0.5); print(os.getpriority(os.PRIO_PROCESS, 0))"
    lines, _, _ = run(owner, program)
    assert int(lines[0]) > os.getpriority(os.PRIO_PROCESS, 0)


def test_a_command_that_is_unwanted_before_it_starts_never_runs(owner, tmp_path):
    ends = []
    command = BackgroundCommand(
        ("-c", f"open({str(tmp_path / 'ran')!r}, 'w')"),
        owner,
        lambda line: None,
        lambda code, errors: ends.append(code),
    )
    command.stop()
    command.start()
    owner.run_until(lambda: ends)
    assert ends == [None]
    assert not (tmp_path / "ran").exists()
