"""Where and how a model runs: device, precision, threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from octcube_core.errors import InputError

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str = "auto") -> torch.device:
    """Device of a name: "auto", "cpu", "cuda", "cuda:1" or "mps"; auto prefers CUDA, then MPS.

    Raises
    ------
    InputError
        If the name is unknown or this computer has no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            _fix_cublas()
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"Unknown device {name!r}; use auto, cpu, cuda, cuda:1 or mps.") from error
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type == "cuda":
        return _cuda_device(device)
    if device.type == "mps" and torch.backends.mps.is_available():
        return torch.device("mps")
    raise InputError(f"This computer has no device {name!r}; use cpu or auto.")


def _cuda_device(device: torch.device) -> torch.device:
    if not torch.cuda.is_available():
        raise InputError(
            "No CUDA GPU can be used here (none found, or PyTorch is built without CUDA); use cpu or auto."
        )
    index = torch.cuda.current_device() if device.index is None else device.index
    count = torch.cuda.device_count()
    if index >= count:
        raise InputError(
            f"There is no GPU number {index}: this computer has {count}, counted from 0."
        )
    _fix_cublas()
    return torch.device("cuda", index)


def _fix_cublas() -> None:
    """Have cuBLAS add in a fixed order; read when CUDA starts, so it is set with the choice of the device."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Within the context the same work on the same device gives the same bits; PyTorch's settings come back after it.

    The setting is that of the whole process. Where an operation has no deterministic form, it raises RuntimeError.
    On a Mac's GPU nothing is set: PyTorch knows no deterministic forms there.
    """
    if device.type == "mps":
        yield
        return
    if device.type == "cuda":
        _fix_cublas()
    mode = torch.get_deterministic_debug_mode()
    settings: Any = torch.utils.deterministic
    fill = settings.fill_uninitialized_memory
    # An error, not a warning: only then do the fused attentions' backward passes turn deterministic.
    torch.use_deterministic_algorithms(True)
    settings.fill_uninitialized_memory = False  # a check for bugs that costs time
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        settings.fill_uninitialized_memory = fill


def device_label(device: torch.device) -> str:
    """What to call a device on the screen: "CPU" or the GPU's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return {"cpu": "CPU", "mps": "Apple GPU (MPS)"}.get(device.type, device.type.upper())


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """Data type of "auto", "fp32", "bf16" or "fp16".

    Auto is bf16 on CUDA GPUs and CPUs that compute in it (AMX or AVX512-BF16), else fp32.
    On a CPU with AVX512-BF16 and no AMX, a ViT-L block at 5,120 tokens takes a third of its time in fp32.

    Raises
    ------
    InputError
        If the name is unknown.
    """
    if name == "auto":
        return torch.bfloat16 if computes_in_bf16(device) else torch.float32
    if name not in PRECISIONS:
        raise InputError(f"Unknown precision {name!r}; use auto, {', '.join(PRECISIONS)}.")
    return PRECISIONS[name]


def computes_in_bf16(device: torch.device) -> bool:
    """Whether a device multiplies in bf16 itself instead of emulating it."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)  # older ones only emulate it
    return device.type == "cpu" and any(
        cpu_capabilities().get(name, False) for name in ("amx_bf16", "avx512_bf16")
    )


def cpu_capabilities() -> dict[str, bool | int | str]:
    """What PyTorch knows of this CPU, such as "avx512_bf16" and "amx_bf16"; empty with an older PyTorch."""
    found: dict[str, bool | int | str] = getattr(torch.cpu, "get_capabilities", dict)()
    return found


def bf16_in_vectors_only() -> bool:
    """Whether this CPU multiplies bf16 in vectors (AVX512-BF16), but has no units for matrices of it (AMX)."""
    has = cpu_capabilities()
    return bool(has.get("avx512_bf16", False)) and not has.get("amx_bf16", False)


def precision_label(dtype: torch.dtype) -> str:
    """Name of a data type: "fp32", "bf16" or "fp16"."""
    return next(name for name, known in PRECISIONS.items() if known == dtype)


def synchronise(device: torch.device) -> None:
    """Wait until a GPU has done what was asked of it, so that a clock read next is right."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def choose_threads() -> int:
    """Threads for one process on the CPU: its physical cores, within affinity and a container's quota.

    ``OMP_NUM_THREADS``, where set, has the last word.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    if not hasattr(os, "sched_getaffinity"):
        return (
            torch.get_num_threads()
        )  # macOS and Windows: torch's own choice is the physical cores
    cores = _physical_cores(os.sched_getaffinity(0))
    quota = _container_quota()
    return cores if quota is None else max(1, min(cores, quota))


def _physical_cores(cpus: set[int], root: Path = Path("/sys/devices/system/cpu")) -> int:
    """Number of distinct cores behind logical CPUs: two hyper-threads of one core count once."""
    cores = set()
    for cpu in cpus:
        try:
            siblings = (
                (root / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text().strip()
            )
        except OSError:
            siblings = str(cpu)
        cores.add(siblings)
    return max(1, len(cores))


def _container_quota(file: Path = Path("/sys/fs/cgroup/cpu.max")) -> int | None:
    """Whole CPUs that a container's quota allows, or None without one."""
    try:
        quota, period = file.read_text().split()[:2]
        return max(1, round(int(quota) / int(period)))
    except (OSError, ValueError):  # no such file, or "max"
        return None
