"""Training killed at any moment goes on and ends with the same weights, bit for bit."""

from __future__ import annotations

import random
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from octcube_core.errors import InputError
from train.engine.checkpoints import newest_whole, step_checkpoints

OPTIONS = [
    "--model.optimisation.lr=0.01",
    "--model.optimisation.warmup_epochs=0.5",
    "--trainer.max_epochs=3",
    "--trainer.enable_progress_bar=false",
    "--trainer.enable_model_summary=false",
    "--trainer.accelerator=cpu",
    "--save_every_steps=2",
    "--resume=auto",
]


def options(store: Path, root: Path, *more: str) -> list[str]:
    return [*OPTIONS, f"--data.store={store}", f"--trainer.default_root_dir={root}", *more]


def same(one: Any, other: Any, where: str = "") -> None:
    """Assert that nested values are equal to the last bit."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for number, pair in enumerate(zip(one, other, strict=True)):
            same(*pair, f"{where}/{number}")
    else:
        assert one == other, where


def end_of(root: Path) -> list[dict[str, Any]]:
    """Everything that the last and the best checkpoint hold, without their places on the disk."""
    folder = root / "checkpoints"
    states = []
    for path in (step_checkpoints(folder)[0], folder / "best.ckpt"):
        state = torch.load(path, weights_only=True)
        # How far this process's last validation got; each validation starts anew.
        progress = state["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
        del progress["current"], progress["is_last_batch"]
        for callback in state["callbacks"].values():
            for name in list(callback):
                # Places differ; the score of the last validation is stored by Lightning, but not read again.
                if "path" in name or name in ("dirpath", "best_k_models", "current_score"):
                    del callback[name]
        states.append(state)
    return states


def steps_of(root: Path) -> int:
    """Optimiser steps that a run has made and stored."""
    return int(step_checkpoints(root / "checkpoints")[0].stem.removeprefix("step-"))


VARIANTS = {
    "plain": (1, ["--data.batch_size=4", "--data.workers=0"]),
    "accumulated, averaged": (
        1,
        ["--data.batch_size=2", "--data.workers=0", "--trainer.accumulate_grad_batches=3", "--ema=0.9"],
    ),
    "two processes": (2, ["--data.batch_size=2", "--data.workers=0", "--trainer.devices=2"]),
    "validated within epochs": (
        1,
        ["--data.batch_size=2", "--data.workers=0", "--trainer.val_check_interval=4"],
    ),
    "so many steps": (
        1, ["--data.batch_size=4", "--data.workers=0", "--trainer.max_epochs=-1", "--trainer.max_steps=14"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_kills_at_random_moments_change_nothing(variant, toy_store, runner, tmp_path):
    processes, more = VARIANTS[variant]
    whole = runner.run(
        options(toy_store, tmp_path / "whole", *more), tmp_path / "whole.log", processes
    )
    assert whole.codes == [0] * processes, whole.output
    arguments = options(toy_store, tmp_path / "killed", *more)
    moments, last = random.Random(variant), steps_of(tmp_path / "whole")
    for third in range(3):
        step = moments.randrange(third * last // 3, (third + 1) * last // 3)
        kill = f"{signal.SIGKILL:d}:{step}:{moments.uniform(0, 0.1)}"
        killed = runner.run(arguments, tmp_path / "killed.log", processes, {"TOY_SIGNAL": kill})
        assert -signal.SIGKILL in killed.codes or killed.codes == [0] * processes, killed.output
    ended = runner.run(arguments, tmp_path / "killed.log", processes)
    assert ended.codes == [0] * processes, ended.output
    same(end_of(tmp_path / "whole"), end_of(tmp_path / "killed"))


@pytest.mark.parametrize("variant", ["plain", "so many steps"])
def test_an_end_between_epochs_changes_nothing(variant, toy_store, runner, tmp_path):
    _, more = VARIANTS[variant]
    assert runner.run(options(toy_store, tmp_path / "whole", *more), tmp_path / "log").codes == [0]
    arguments = options(toy_store, tmp_path / "ended", *more)
    plea = {"TOY_SIGNAL": f"{signal.SIGTERM:d}:4:0"}  # in the last step of the first epoch
    assert runner.run(arguments, tmp_path / "ended.log", env=plea).codes == [143]
    assert steps_of(tmp_path / "ended") == 5
    assert runner.run(arguments, tmp_path / "ended.log").codes == [0]
    same(end_of(tmp_path / "whole"), end_of(tmp_path / "ended"))


def test_reading_processes_change_nothing(toy_store, runner, tmp_path):
    """Batches that workers had read ahead when the run was killed are neither lost nor seen twice."""
    arguments = ["--data.batch_size=4", "--trainer.max_epochs=2"]
    whole = options(toy_store, tmp_path / "whole", *arguments, "--data.workers=0")
    killed = options(toy_store, tmp_path / "killed", *arguments, "--data.workers=1")
    assert runner.run(whole, tmp_path / "whole.log").codes == [0]
    assert runner.run(killed, tmp_path / "killed.log", env={"TOY_SIGNAL": "9:3:0"}).codes == [-9]
    ended = runner.run(killed, tmp_path / "killed.log")
    assert "step-000000002.ckpt" in ended.output
    same(end_of(tmp_path / "whole"), end_of(tmp_path / "killed"))


def test_checkpoint_of_which_half_is_written_is_never_picked_up(toy_store, runner, tmp_path):
    arguments = options(toy_store, tmp_path, "--data.batch_size=4", "--data.workers=0")
    killed = runner.run(arguments, tmp_path / "log", env={"TOY_KILL_SAVING": "step-000000007"})
    assert killed.codes == [-signal.SIGKILL], killed.output
    assert list((tmp_path / "checkpoints").glob(".step-000000007*"))
    assert steps_of(tmp_path) == 5
    assert runner.run(arguments, tmp_path / "log").codes == [0]
    assert not list((tmp_path / "checkpoints").glob(".*"))


def test_damaged_newest_checkpoint_falls_back_to_the_one_before(tmp_path):
    for step in (1, 2, 3):
        torch.save({"weights": torch.ones(1000)}, tmp_path / f"step-{step:09d}.ckpt")
    truncated, changed = tmp_path / "step-000000003.ckpt", tmp_path / "step-000000002.ckpt"
    truncated.write_bytes(truncated.read_bytes()[:-100])
    content = bytearray(changed.read_bytes())
    content[len(content) // 2] ^= 1
    changed.write_bytes(content)
    with pytest.warns(UserWarning, match="damaged"):
        assert newest_whole(tmp_path) == tmp_path / "step-000000001.ckpt"
    (tmp_path / "step-000000001.ckpt").write_bytes(b"")
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(InputError, match="are damaged"):
        newest_whole(tmp_path)


def test_run_keeps_the_last_two_and_the_best_and_does_not_begin_again_over_them(
    toy_store, runner, tmp_path
):
    arguments = options(toy_store, tmp_path, "--data.batch_size=4", "--data.workers=0")
    assert runner.run(arguments, tmp_path / "log").codes == [0]
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["best.ckpt", "step-000000014.ckpt", "step-000000015.ckpt"]
    arguments.remove("--resume=auto")
    again = runner.run(arguments, tmp_path / "again.log")
    assert again.codes == [2]
    assert "--resume auto" in again.output
    assert "Traceback" not in again.output
