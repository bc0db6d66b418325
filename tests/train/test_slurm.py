"""A plea to end: a checkpoint at the end of the step, a requeue under SLURM, and no difference to the result."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.train.test_resume import end_of, options, same, steps_of

SCRIPTS = sorted((Path(__file__).parents[2] / "train" / "slurm").glob("*.sbatch"))
SMALL = ["--data.batch_size=2", "--data.workers=0", "--trainer.max_epochs=2"]


def slurm(tmp_path: Path, refuses: bool = False) -> dict[str, str]:
    """Environment of a one-task SLURM job, with a scontrol that writes down what it is asked."""
    tools = tmp_path / "bin"
    tools.mkdir()
    scontrol = tools / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nexit {int(refuses)}\n')
    scontrol.chmod(0o755)
    return {
        "PATH": f"{tools}:/usr/bin:/bin", "SLURM_JOB_ID": "4711", "SLURM_JOB_NAME": "toy",
        "SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1", "SLURM_NNODES": "1", "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_NODELIST": "localhost",
    }  # fmt: skip


def test_time_limit_saves_and_requeues_once_and_the_result_is_the_same(toy_store, runner, tmp_path):
    whole = options(toy_store, tmp_path / "whole", *SMALL)
    assert runner.run(whole, tmp_path / "whole.log").codes == [0]
    arguments, env = options(toy_store, tmp_path / "run", *SMALL), slurm(tmp_path)
    ended = runner.run(
        arguments, tmp_path / "log", env={**env, "TOY_SIGNAL": f"{signal.SIGUSR1:d}:4:0"}
    )
    assert ended.codes == [0], ended.output
    assert (tmp_path / "asked").read_text() == "requeue 4711\n"
    assert steps_of(tmp_path / "run") < 8
    assert runner.run(arguments, tmp_path / "log", env=env).codes == [0]
    same(end_of(tmp_path / "whole"), end_of(tmp_path / "run"))


def test_scancel_saves_but_does_not_requeue(toy_store, runner, tmp_path):
    env = {**slurm(tmp_path), "TOY_SIGNAL": f"{signal.SIGTERM:d}:4:0"}
    ended = runner.run(options(toy_store, tmp_path / "run", *SMALL), tmp_path / "log", env=env)
    assert ended.codes == [143], ended.output
    assert not (tmp_path / "asked").exists()
    assert steps_of(tmp_path / "run") < 8


def test_refused_requeue_is_said(toy_store, runner, tmp_path):
    env = {**slurm(tmp_path, refuses=True), "TOY_SIGNAL": f"{signal.SIGUSR1:d}:4:0"}
    ended = runner.run(options(toy_store, tmp_path / "run", *SMALL), tmp_path / "log", env=env)
    assert ended.codes == [2]
    assert "submit it again" in ended.output


def test_signal_to_one_process_ends_both_at_the_same_step(toy_store, runner, tmp_path):
    small = [*SMALL, "--trainer.devices=2"]
    whole = options(toy_store, tmp_path / "whole", *small)
    assert runner.run(whole, tmp_path / "whole.log", 2).codes == [0, 0]
    arguments = options(toy_store, tmp_path / "run", *small)
    ended = runner.run(
        arguments, tmp_path / "log", 2, env={"TOY_SIGNAL": f"{signal.SIGTERM:d}:2:0:1"}
    )
    assert ended.codes == [143, 0], ended.output
    assert "--resume auto" in ended.output
    assert "Traceback" not in ended.output
    assert runner.run(arguments, tmp_path / "log", 2).codes == [0, 0]
    same(end_of(tmp_path / "whole"), end_of(tmp_path / "run"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_batch_scripts_ask_for_what_the_engine_needs(script):
    text = script.read_text()
    for needed in ("#SBATCH --signal=SIGUSR1@", "#SBATCH --requeue", "#SBATCH --ntasks-per-node",
                   "srun", f"-m train {script.stem} ", "--resume auto"):  # fmt: skip
        assert needed in text
    assert {path.stem for path in SCRIPTS} == {"mae", "coep", "finetune"}
