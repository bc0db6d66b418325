"""The benchmark measures what it says, and says which promises are kept."""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pytest
import torch

import octcube_core.bench
from octcube_core.bench import PARTS, measure
from octcube_core.bench import memory as memory_part
from octcube_core.bench import precision as precision_part
from octcube_core.bench.gpu import compare
from octcube_core.bench.plain import LAYER, plain_map
from octcube_core.bench.setup import Figure, Setup
from octcube_core.cli import main
from octcube_core.cli.bench import PARTS as PARTS_OF_COMMAND
from octcube_core.errors import InputError, OCTCubeError
from octcube_core.models.random_weights import random_model
from octcube_core.saliency import CachedTail, disease_logit

TINY = {"depth": 2, "embed_dim": 64, "num_heads": 1, "input_shape": (6, 32, 32)}


def _tiny_setup() -> Setup:
    return Setup(**TINY, device=torch.device("cpu"), dtype=torch.float32, repeats=1)


def _figures(report: dict) -> dict[str, dict]:
    return {figure["name"]: figure for figure in report["figures"]}


def test_speed_gives_every_ratio_at_both_norms() -> None:
    stages: list[tuple[str, float]] = []
    report = measure(
        **TINY, precision="fp32", device="cpu", on_progress=lambda *stage: stages.append(stage)
    )
    json.dumps(report, allow_nan=False)
    figures = _figures(report)
    for layer in ("norm1", "norm2"):
        every = figures[f"analyze with 8 maps at {layer} / forward"]["value"]
        later = figures[f"another map later at {layer} / forward"]["value"]
        assert every > 1
        assert 0 < later < every
        assert figures[f"analyze with one map at {layer} / forward"]["value"] > 0
    assert (
        report["ratio"] == figures[f"analyze with 8 maps at {report['layer']} / forward"]["value"]
    )
    assert report["precision"] == "fp32"
    assert report["stages_s"]["total"] <= report["analyze_s"]
    assert stages == [("Measuring speed", 0.0)]


def test_what_was_promised_for_a_vit_large_is_not_asked_of_others() -> None:
    large = Setup(24, 1024, 16, (60, 256, 256), torch.device("cpu"), torch.bfloat16, 1)
    assert large.allowed(1.15) == 1.15
    shallow = Setup(8, 1024, 16, (60, 256, 256), torch.device("cpu"), torch.bfloat16, 1)
    assert shallow.allowed(1.15) is None
    assert shallow.allowed(15, any_depth=True) == 15
    assert _tiny_setup().allowed(15, any_depth=True) is None


@pytest.mark.parametrize(
    ("value", "allowed", "bound", "ok"),
    [
        (1.1, 1.15, "at most", True),
        (1.2, 1.15, "at most", False),
        (14.0, 15.0, "at least", False),
        (16.0, 15.0, "at least", True),
        (16.0, None, "at most", None),
    ],
)
def test_a_figure_is_judged_by_its_bound(value, allowed, bound, ok) -> None:
    assert Figure("speed", value, "x", allowed, bound).to_dict()["ok"] is ok


def test_the_plain_way_gives_our_maps() -> None:
    model = random_model(3, 64, 2, (12, 32, 48)).requires_grad_(True)
    volume = torch.rand(1, 1, 12, 32, 48, generator=torch.Generator().manual_seed(1))
    plain = [plain_map(model, volume, disease) for disease in range(8)]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert sum(one.max() > 0 for one in plain) >= 4  # there is something to compare
    with torch.no_grad():
        tokens = model.encoder.trunk(volume)
    with CachedTail(model.encoder, model.head, tokens, (4, 2, 3), LAYER) as tail:
        for disease, one in enumerate(plain):
            ours = tail.map(disease_logit(disease), "gradcam++").ravel()
            np.testing.assert_allclose(one, ours, rtol=0, atol=1e-4 * max(map(np.max, plain)))


def test_the_plain_way_is_measured_for_one_disease_and_multiplied() -> None:
    report = measure(parts=("plain",), **TINY, precision="fp32", device="cpu")
    (figure,) = report["figures"]
    one, ours = (
        report["parts"]["plain"]["plain_one_disease_s"],
        report["parts"]["plain"]["analyze_s"],
    )
    assert figure["value"] == pytest.approx(8 * one / ours)
    assert "times 8" in figure["note"]


def test_precisions_are_compared() -> None:
    report = measure(parts=("fp32",), **TINY, device="cpu")
    (figure,) = report["figures"]
    assert figure["value"] == pytest.approx(
        report["parts"]["fp32"]["fp32_s"] / report["parts"]["fp32"]["bf16_s"]
    )
    assert set(report["cpu"]) == {"cpu_name", "amx_bf16", "avx512_bf16"}


def test_probabilities_in_half_precision_differ_a_little(monkeypatch) -> None:
    monkeypatch.setattr(precision_part, "EYES", 2)
    report = measure(parts=("precision",), device="cpu")
    (figure,) = report["figures"]
    assert 0 < figure["value"] <= figure["allowed"] == 0.01
    assert report["parts"]["precision"]["eyes"] == 2
    assert report["parts"]["precision"]["bf16"]["mean"] < figure["value"]


@pytest.mark.slow
def test_memory_is_that_of_a_fresh_process() -> None:
    ballast = np.ones(2 * 10**9, np.uint8)  # in this process
    report = measure(parts=("memory",), **TINY, precision="fp32", device="cpu")
    (figure,) = report["figures"]
    assert 0.1 < figure["value"] < ballast.nbytes / 1e9
    assert figure["unit"] == "GB"


def test_a_failing_memory_measurement_says_why(monkeypatch) -> None:
    def run(*_: object, **__: object) -> subprocess.CompletedProcess:
        return subprocess.CompletedProcess([], 1, "", "Traceback\nMemoryError: too little")

    monkeypatch.setattr(memory_part.subprocess, "run", run)
    with pytest.raises(OCTCubeError, match="MemoryError: too little"):
        measure(parts=("memory",), **TINY, device="cpu")


def test_the_part_for_gpus_is_skipped_without_one() -> None:
    report = measure(parts=("gpu",), **TINY, device="cpu")
    assert report["figures"] == []
    assert "skipped" in report["parts"]["gpu"]


def test_backends_that_run_are_timed_and_the_others_say_why_not() -> None:
    found = compare(_tiny_setup(), compiled=False)
    for name in ("auto", "sdpa"):
        assert min(found[name].values()) > 0
        assert set(found[name]) == {"forward_s", "analyze_norm1_s", "analyze_norm2_s"}
    assert "flash-attn" in found["flash-attn"]["failed"]  # on a CPU it never runs


def test_wrong_arguments_are_refused_in_a_sentence() -> None:
    with pytest.raises(InputError, match="Unknown part 'all'; known are speed"):
        measure(parts=("all",))
    with pytest.raises(InputError, match="at least once"):
        measure(repeats=0)
    with pytest.raises(InputError, match="do not divide"):
        measure(depth=1, input_shape=(60, 250, 256))


def test_the_command_knows_the_parts() -> None:
    assert tuple(PARTS) == PARTS_OF_COMMAND


@pytest.fixture
def asked(monkeypatch) -> list[dict[str, object]]:
    """What the command asks for; it is answered with a speed that breaks a promise and one without any."""
    calls: list[dict[str, object]] = []
    slow = Figure("analyze / forward", 1.23456, "x", 1.15).to_dict()
    free = Figure("later / forward", 0.02, "x", note="on a [cold] machine").to_dict()

    def measured(**arguments: object) -> dict[str, object]:
        calls.append(arguments)
        return {
            "model": {"depth": 24, "embed_dim": 1024},
            "input_shape": [60, 256, 256],
            "repeats": 1,
            "device": "CPU",
            "precision": "bf16",
            "threads": 2,
            "forward_s": 1.0,
            "parts": {"gpu": {"skipped": "no CUDA GPU is used"}},
            "figures": [slow, free],
        }

    monkeypatch.setattr(octcube_core.bench, "measure", measured)
    return calls


def test_the_command_prints_json_and_ends_well_even_if_a_promise_is_broken(asked, capsys) -> None:
    arguments = [
        "--depth",
        "3",
        "--repeats",
        "2",
        "--precision",
        "bf16",
        "--parts",
        "speed",
        "fp32",
    ]
    assert main(["bench", "--json", *arguments]) == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    assert [figure["ok"] for figure in figures] == [False, None]
    call = asked[0]
    assert call.pop("on_progress")
    wanted = {"depth": 3, "repeats": 2, "precision": "bf16", "parts": ("speed", "fp32")}
    assert call == {**wanted, "device": "auto"}


def test_the_table_says_what_is_allowed_and_what_is_not_ok(asked, capsys) -> None:
    assert main(["bench"]) == 0
    assert asked[0]["parts"] == PARTS_OF_COMMAND
    lines = capsys.readouterr().out.splitlines()
    slow, free = (next(line for line in lines if line.startswith(name)) for name in ("ana", "lat"))
    assert slow.split()[-6:] == ["1.23", "x", "at", "most", "1.15", "NO"]
    assert free.endswith("on a [cold] machine")
    assert "gpu: skipped, no CUDA GPU is used" in lines
