"""Device, precision and threads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from octcube_core import runtime
from octcube_core.errors import InputError
from octcube_core.runtime import (
    choose_device,
    choose_precision,
    choose_threads,
    deterministic,
    device_label,
    precision_label,
)

CPU = torch.device("cpu")


def test_auto_takes_a_gpu_if_there_is_one() -> None:
    has_gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    assert (choose_device("auto").type != "cpu") == has_gpu


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("abacus", "Unknown device"),
        ("", "Unknown device"),
        ("cuda:x", "Unknown device"),
        ("xpu", "no device"),
        ("meta", "no device"),
    ],
)
def test_unknown_devices_are_refused(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose_device(name)


def test_an_absent_gpu_is_refused_with_a_way_out(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for name in ("cuda", "cuda:1", "mps"):
        with pytest.raises(InputError, match="use cpu or auto"):
            choose_device(name)
    assert choose_device("auto") == CPU


def test_a_gpu_number_that_does_not_exist_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert choose_device("cuda:0") == torch.device("cuda", 0)
    assert choose_device("cuda") == choose_device("auto") == torch.device("cuda", 1)
    with pytest.raises(InputError, match="no GPU number 2: this computer has 2"):
        choose_device("cuda:2")


def test_the_choice_of_a_gpu_has_cublas_add_in_a_fixed_order(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    for name in ("auto", "cuda:0"):
        monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
        choose_device(name)
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    choose_device("cuda")
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"  # the user's own is deterministic too


def _interrupted_amid_determinism() -> None:
    with deterministic(CPU):
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        raise KeyboardInterrupt


@pytest.mark.parametrize("mode", ["default", "warn", "error"])
def test_determinism_ends_with_its_context_even_after_an_error(mode: str) -> None:
    settings = torch.utils.deterministic
    torch.set_deterministic_debug_mode(mode)
    try:
        before = torch.get_deterministic_debug_mode(), settings.fill_uninitialized_memory
        with pytest.raises(KeyboardInterrupt):
            _interrupted_amid_determinism()
        after = torch.get_deterministic_debug_mode(), settings.fill_uninitialized_memory
        assert after == before
    finally:
        torch.set_deterministic_debug_mode("default")


def test_the_cpu_is_called_cpu() -> None:
    assert device_label(choose_device("cpu")) == "CPU"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_f": True, "amx_bf16": False}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_auto_is_bf16_only_where_the_cpu_computes_in_it(monkeypatch, flags, expected) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags, raising=False)
    assert choose_precision("auto", CPU) == expected


@pytest.mark.parametrize(
    ("capability", "expected"), [((8, 0), torch.bfloat16), ((7, 5), torch.float32)]
)
def test_auto_on_a_gpu(monkeypatch, capability, expected) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_precision("auto", torch.device("cuda", 0)) == expected


def test_named_precisions() -> None:
    for name in ("fp32", "bf16", "fp16"):
        assert precision_label(choose_precision(name, CPU)) == name
    with pytest.raises(InputError, match=r"Unknown precision 'half'; use auto, fp32"):
        choose_precision("half", CPU)


def test_omp_num_threads_has_the_last_word(monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert choose_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert choose_threads() >= 1


def test_affinity_and_quota_limit_the_threads(monkeypatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(runtime.os, "sched_getaffinity", lambda pid: {0}, raising=False)
    assert choose_threads() == 1
    monkeypatch.setattr(runtime, "_physical_cores", lambda cpus: 64)
    monkeypatch.setattr(runtime, "_container_quota", lambda: 4)
    assert choose_threads() == 4


def test_hyper_threads_of_a_core_count_once(tmp_path: Path) -> None:
    for cpu, siblings in enumerate(("0,2", "1,3", "0,2", "1,3")):
        folder = tmp_path / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(siblings + "\n")
    assert runtime._physical_cores({0, 1, 2, 3}, tmp_path) == 2
    assert runtime._physical_cores({0, 2}, tmp_path) == 1
    assert runtime._physical_cores({0, 1, 2}, tmp_path / "absent") == 3


@pytest.mark.parametrize(
    ("text", "expected"), [("max 100000", None), ("250000 100000", 2), ("50000 100000", 1)]
)
def test_a_containers_quota(tmp_path: Path, text: str, expected: int | None) -> None:
    (tmp_path / "cpu.max").write_text(text + "\n")
    assert runtime._container_quota(tmp_path / "cpu.max") == expected
    assert runtime._container_quota(tmp_path / "absent") is None
