"""The most memory that a process needs to load a model and analyse one exam with it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from octcube_core.bench.setup import Figure, Setup, analyze_as_asked, random_exam
from octcube_core.checkpoints.format import save_checkpoint
from octcube_core.checkpoints.zoo import load_model
from octcube_core.errors import OCTCubeError
from octcube_core.runtime import precision_label

GIGABYTE = 1e9
ALLOWED_GB = 3.0
LAYER = "norm1"  # keeps more than norm2
STORED = torch.float32  # as the released weights are

_CHILD = "import sys; from octcube_core.bench.memory import child; child(sys.argv[1])"


def measure(setup: Setup) -> tuple[list[Figure], dict[str, Any]]:
    """Analyse an exam in a process of its own, which says how much memory it came to hold at most."""
    with TemporaryDirectory(prefix="octcube-bench-") as folder:
        path = Path(folder) / "model.safetensors"
        save_checkpoint(path, setup.model(dtype=STORED))
        facts = {
            "model": str(path),
            "device": str(setup.device),
            "precision": precision_label(setup.dtype),
        }
        found = _in_fresh_process(facts)
    name = "peak memory of one analysis"
    figures = []
    if found["host_gb"] is not None:
        figures.append(Figure(name, found["host_gb"], "GB", setup.allowed(ALLOWED_GB)))
    if found["gpu_gb"] is not None:
        figures.append(Figure(f"{name} on the GPU", found["gpu_gb"], "GB"))
    return figures, {"layer": LAYER, "weights_stored_in": precision_label(STORED), **found}


def _in_fresh_process(facts: dict[str, str]) -> dict[str, Any]:
    ran = subprocess.run(
        [sys.executable, "-c", _CHILD, json.dumps(facts)], capture_output=True, text=True
    )
    if ran.returncode:
        reason = (ran.stderr.strip().splitlines() or [f"exit code {ran.returncode}"])[-1]
        raise OCTCubeError(
            f"The analysis whose memory was to be measured failed ({reason}); leave out the part memory."
        )
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


def child(facts: str) -> None:
    """Load and analyse as the JSON says, and print the peaks as JSON; runs in the fresh process."""
    wanted = json.loads(facts)
    model = load_model(wanted["model"], device=wanted["device"], precision=wanted["precision"])
    exam = random_exam(model.card.architecture.input_shape)
    analyze_as_asked(exam, model, LAYER)
    host = peak_bytes()
    gpu = torch.cuda.max_memory_allocated() if wanted["device"].startswith("cuda") else None
    peaks = {"host_gb": host, "gpu_gb": gpu}
    in_gb = {name: None if size is None else size / GIGABYTE for name, size in peaks.items()}
    sys.stdout.write(json.dumps(in_gb) + "\n")


def peak_bytes() -> int | None:
    """Most memory that this process has held, mapped files included; None on Windows."""
    status = Path("/proc/self/status")
    if status.is_file():
        # Not getrusage, which on Linux begins with what the parent process held.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS
