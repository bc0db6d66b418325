"""The command line of a stage: options, errors in one sentence, several processes, an end for all if one fails."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from octcube_core.checkpoints.format import load_checkpoint
from tests.train.killed_runs import ROOT
from tests.train.test_resume import end_of, options, same, steps_of

SMALL = ["--data.batch_size=4", "--data.workers=0", "--trainer.max_epochs=2"]


def best_loss(root: Path) -> float:
    """The best validated loss of a run."""
    callbacks = end_of(root)[0]["callbacks"]
    (score,) = (
        state["best_model_score"] for state in callbacks.values() if "best_model_score" in state
    )
    return float(score)


def test_export_has_the_weights_of_the_best_epoch_averaged_if_asked(toy_store, runner, tmp_path):
    for name, more in (("plain", []), ("averaged", ["--ema=0.5"])):
        exported = tmp_path / name / "deep" / "model.safetensors"
        arguments = options(toy_store, tmp_path / name, *SMALL, *more, f"--export={exported}")
        ended = runner.run(arguments, tmp_path / f"{name}.log")
        assert ended.codes == [0], ended.output
        best = torch.load(tmp_path / name / "checkpoints" / "best.ckpt", weights_only=True)
        weights = load_checkpoint(exported).state_dict()
        for key, weight in weights.items():
            stored = best["state_dict"][f"model.{key}"]
            assert torch.equal(weight, stored.bfloat16().float()), key
        if more:
            current = best["current_model_state"]["model.head.linear.weight"]
            assert not torch.equal(current, best["state_dict"]["model.head.linear.weight"])


def test_without_a_best_epoch_the_last_is_exported(toy_store, runner, tmp_path):
    exported = tmp_path / "model.safetensors"
    unknown = ["--monitor=val/undefined", "--monitor_mode=max", f"--export={exported}"]
    ended = runner.run(options(toy_store, tmp_path, *SMALL, *unknown), tmp_path / "log")
    assert ended.codes == [0], ended.output
    assert "was never a number" in ended.output
    last = torch.load(tmp_path / "checkpoints" / "step-000000010.ckpt", weights_only=True)
    head = load_checkpoint(exported).head.linear.weight
    assert torch.equal(head, last["state_dict"]["model.head.linear.weight"].bfloat16().float())


def test_weights_that_are_no_numbers_take_no_checkpoints_place(toy_store, runner, tmp_path):
    arguments = options(toy_store, tmp_path, *SMALL)
    assert runner.run(arguments, tmp_path / "log").codes == [0]
    before = steps_of(tmp_path)
    further = ["--trainer.max_epochs=9", "--model.spoil_at=10"]
    ended = runner.run([*arguments, *further], tmp_path / "spoilt.log")
    assert ended.codes == [2], ended.output
    assert "are no numbers any more" in ended.output.strip().splitlines()[-1]
    assert steps_of(tmp_path) == before


def test_finished_run_only_exports_again(toy_store, runner, tmp_path):
    arguments = options(toy_store, tmp_path, *SMALL, "--ema=0.5")
    assert runner.run(arguments, tmp_path / "log").codes == [0]
    steps, before = steps_of(tmp_path), end_of(tmp_path)
    again = runner.run(
        [*arguments, f"--export={tmp_path}/model.safetensors"], tmp_path / "again.log"
    )
    assert again.codes == [0], again.output
    assert steps_of(tmp_path) == steps
    same(end_of(tmp_path), before)
    best = torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    head = load_checkpoint(tmp_path / "model.safetensors").head.linear.weight
    assert torch.equal(head, best["model.head.linear.weight"].bfloat16().float())


def test_run_that_ended_early_stays_ended(toy_store, runner, tmp_path):
    still = ["--patience=1", "--model.optimisation.lr=1e-30", "--trainer.max_epochs=9"]
    arguments = options(toy_store, tmp_path, *SMALL, *still)
    for attempt in range(2):
        ended = runner.run(arguments, tmp_path / f"{attempt}.log")
        assert ended.codes == [0], ended.output
        assert steps_of(tmp_path) == 10  # the second of the epochs was no better


def test_fsdp2_gives_the_weights_of_ddp_and_goes_on_from_its_checkpoint(
    toy_store, runner, tmp_path
):
    small = ["--data.batch_size=2", "--data.workers=0", "--trainer.devices=2"]
    for name, strategy in (("ddp", "ddp"), ("fsdp2", "fsdp2")):
        arguments = options(
            toy_store, tmp_path / name, *small, f"--trainer.strategy={strategy}",
            "--trainer.max_epochs=1", f"--export={tmp_path}/{name}.safetensors",
            "--trainer.gradient_clip_val=1.0",
        )  # fmt: skip
        ended = runner.run(arguments, tmp_path / f"{name}.log", 2)
        assert ended.codes == [0, 0], ended.output
    exported = load_checkpoint(tmp_path / "fsdp2.safetensors")
    assert exported.card.trained_on == "20 toys"  # as the data said
    assert all(weight.isfinite().all() for weight in exported.state_dict().values())
    assert best_loss(tmp_path / "fsdp2") == pytest.approx(best_loss(tmp_path / "ddp"), rel=1e-3)
    arguments[arguments.index("--trainer.max_epochs=1")] = "--trainer.max_epochs=2"
    ended = runner.run(arguments, tmp_path / "more.log", 2)
    assert ended.codes == [0, 0], ended.output
    assert steps_of(tmp_path / "fsdp2") == 10


def test_compiled_blocks_keep_their_names(toy_store, runner, tmp_path):
    for name, more in (("plain", []), ("compiled", ["--compile"])):
        arguments = options(toy_store, tmp_path / name, *SMALL, *more, "--trainer.max_epochs=1")
        ended = runner.run(arguments, tmp_path / f"{name}.log")
        assert ended.codes == [0], ended.output
    plain, compiled = (end_of(tmp_path / name)[0]["state_dict"] for name in ("plain", "compiled"))
    assert plain.keys() == compiled.keys()
    assert best_loss(tmp_path / "compiled") == pytest.approx(
        best_loss(tmp_path / "plain"), rel=1e-3
    )


def command(*launcher: str) -> list[str]:
    return [sys.executable, *launcher, "-m", "tests.train.toy_stage"]


TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


def start(arguments: list[str], *launcher: str) -> tuple[subprocess.CompletedProcess[str], float]:
    began = time.monotonic()
    ended = subprocess.run(
        [*command(*launcher), *arguments],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=200, check=False,
    )  # fmt: skip
    return ended, time.monotonic() - began


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [TORCHRUN, ()], ids=["torchrun", "lightning"])
def test_one_failing_process_ends_all_with_its_error(launcher, toy_store, tmp_path):
    small = ["--data.batch_size=2", "--data.workers=0", "--trainer.devices=2"]
    arguments = options(toy_store, tmp_path, *small, "--model.fail_at=2", "--model.fail_rank=1")
    ended, _ = start(arguments, *launcher)
    assert ended.returncode != 0
    assert "the toy broke, as told" in ended.stderr


@pytest.mark.slow
def test_torchrun_trains_like_any_two_processes(toy_store, runner, tmp_path):
    # The recipe's number of devices gives way to the launcher's.
    arguments = ["--data.batch_size=2", "--data.workers=0", "--trainer.max_epochs=1"]
    ended, _ = start(options(toy_store, tmp_path / "torchrun", *arguments), *TORCHRUN)
    assert ended.returncode == 0, ended.stderr
    forked = runner.run(options(toy_store, tmp_path / "forked", *arguments), tmp_path / "log", 2)
    assert forked.codes == [0, 0], forked.output
    same(end_of(tmp_path / "torchrun"), end_of(tmp_path / "forked"))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--config=nowhere.yaml"], "no recipe nowhere.yaml"),
        (["--trainer.max_epochs=ten"], "trainer.max_epochs cannot be ten"),
        (["--trainer.no_such=1"], "trainer.no_such"),
        (["--model.optimisation.base_lr=1"], "either lr or base_lr"),
        (["--patience=2", "--monitor=null"], "--monitor"),
        (["--resume=nowhere.ckpt"], "no training checkpoint nowhere.ckpt"),
        (["--data.store=nowhere"], "nowhere holds no finished store"),
        (["--trainer.accelerator=cuda"], "accelerator"),
        (["--ema=0.9", "--trainer.strategy=fsdp2"], "fsdp2"),
        (["--data.batch_size=100"], "fewer than a batch"),
        (["--monitor=val/nothing"], "val/nothing"),
    ],
)
def test_bad_input_gets_one_sentence(wrong, said, toy_store, runner, tmp_path):
    if torch.cuda.is_available() and "--trainer.accelerator=cuda" in wrong:
        pytest.skip("there is one")
    ended = runner.run(options(toy_store, tmp_path / "run", *SMALL, *wrong), tmp_path / "log")
    said_last = ended.output.strip().splitlines()[-1]
    assert ended.codes == [2], ended.output
    assert said_last.startswith("train: error: ")
    assert said in said_last
    assert "Traceback" not in ended.output


def test_config_file_is_read_and_overridden(toy_store, runner, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("model: {optimisation: {lr: 0.01}, no_such_setting: 1}\n")
    ended = runner.run([f"--config={recipe}", f"--data.store={toy_store}"], tmp_path / "log")
    assert ended.codes == [2]
    assert "no_such_setting" in ended.output.strip().splitlines()[-1]
    recipe.write_text(
        f"model: {{optimisation: {{lr: 0.01}}}}\ndata: {{store: {toy_store}, batch_size: 4, workers: 0}}\n"
        f"trainer: {{default_root_dir: {tmp_path / 'run'}, enable_progress_bar: false, max_epochs: 9}}\n"
    )
    ended = runner.run([f"--config={recipe}", "--trainer.max_epochs=1"], tmp_path / "log")
    assert ended.codes == [0], ended.output
    assert steps_of(tmp_path / "run") == 5


def test_dry_run_needs_neither_data_nor_devices_and_leaves_nothing(runner, tmp_path):
    root = tmp_path / "run"
    ended = runner.run(
        options(Path("nowhere"), root, "--trainer.devices=8", "--trainer.num_nodes=4",
                "--trainer.accelerator=cuda", "--trainer.precision=bf16-mixed", "--fast_dev_run",
                f"--export={tmp_path}/model.safetensors"),
        tmp_path / "log",
    )  # fmt: skip
    assert ended.codes == [0], ended.output
    assert "the data are made up" in ended.output
    assert not root.exists()
    assert not (tmp_path / "model.safetensors").exists()
