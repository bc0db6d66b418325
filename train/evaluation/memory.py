"""``python -m train memory``: the most memory that fine-tuning on one volume takes, measured or estimated."""

from __future__ import annotations

import argparse
import json
import warnings
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

from octcube_core.models.random_weights import random_card
from octcube_core.runtime import device_label
from octcube_core.token_grid import Triple
from train.engine.optimiser import Optimisation, parameter_groups
from train.tasks.finetune import FinetuneTask

GIGABYTE = 1e9
# With and without activation checkpointing; the paper reports 10.52 GB (arXiv:2408.11227).
ALLOWED_GB = {True: 6.0, False: 10.5}
OPTIMISATION = Optimisation(lr=1e-3)
STEPS = 2  # the optimizer's moments are there from the first on


def main(argv: list[str]) -> None:
    """Parse the arguments, measure or estimate, print a table or JSON."""
    parser = argparse.ArgumentParser(prog="python -m train memory", description=__doc__)
    parser.add_argument(
        "--checkpointing",
        action=argparse.BooleanOptionalAction,
        help="with or without activation checkpointing only; default: both",
    )
    parser.add_argument("--estimate", action="store_true", help="estimate even if there is a GPU")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args(argv)
    asked = arguments.checkpointing
    rows = [
        fine_tuning_memory(checkpointing=choice, estimate=arguments.estimate)
        for choice in ((False, True) if asked is None else (asked,))
    ]
    if arguments.json:
        print(json.dumps(rows, indent=1))
    else:
        _print_table(rows)


def fine_tuning_memory(
    *,
    checkpointing: bool,
    estimate: bool = False,
    depth: int = 24,
    embed_dim: int = 1024,
    num_heads: int = 16,
    input_shape: Triple = (48, 256, 256),
) -> dict[str, Any]:
    """Peak memory of fine-tuning on batches of one volume: AdamW, bf16 mixed precision; the defaults are a ViT-L.

    Parameters
    ----------
    checkpointing : bool
        As ``OCTCubeEncoder.checkpointing``.
    estimate : bool
        Do not measure, even if there is a CUDA GPU.
    depth, embed_dim, num_heads : int
    input_shape : (frames, height, width)

    Returns
    -------
    dict
        Ready for JSON. ``peak_gb`` in 1e9 bytes. ``measured``: True if that is what CUDA's allocator handed out at
        most; False if it is an estimate: the same steps on tensors without storage, of which PyTorch's MemTracker
        adds up the sizes, without the kernels' own work space. ``parts_gb``, of an estimate: parameters, gradients,
        optimizer and activations at the peak.
    """
    card = random_card(depth, embed_dim, num_heads, input_shape)
    settings = {
        "card": card,
        "optimisation": OPTIMISATION,
        "activation_checkpointing": checkpointing,
    }
    run = _estimate if estimate or not torch.cuda.is_available() else _measure
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You are trying to `self.log")  # there is no Trainer
        found = run(settings)
    allowed = ALLOWED_GB[checkpointing]
    return {
        "checkpointing": checkpointing,
        "input_shape": list(input_shape),
        "model": {"depth": depth, "embed_dim": embed_dim, "num_heads": num_heads},
        **found,
        "allowed_gb": allowed,
        "ok": found["peak_gb"] <= allowed,
    }


def _measure(settings: dict[str, Any]) -> dict[str, Any]:
    device = torch.device("cuda", torch.cuda.current_device())
    torch.cuda.reset_peak_memory_stats(device)
    held = torch.cuda.memory_allocated(device)
    task = FinetuneTask(**settings).to(device).train()
    optimizer = _optimizer(task)
    for _ in range(STEPS):
        _step(task, optimizer, _batch(task, device))
    torch.cuda.synchronize(device)
    peak = torch.cuda.max_memory_allocated(device) - held
    return {"peak_gb": peak / GIGABYTE, "measured": True, "device": device_label(device)}


def _estimate(settings: dict[str, Any]) -> dict[str, Any]:
    # On a fake CPU, as autograd refuses fake GPUs where there is no real one; what it keeps is the same.
    device = torch.device("cpu")
    with torch.device("meta"):
        task = FinetuneTask(**settings)
    with FakeTensorMode(allow_non_fake_inputs=True):
        # MemTracker knows no frozen parameters, and the one frozen norm is too small to count.
        task = task.to_empty(device=device).train().requires_grad_(True)
        optimizer = _optimizer(task)
        tracker = MemTracker()
        tracker.track_external(task, optimizer)
        with tracker:
            for number in range(STEPS):
                _step(task, optimizer, _batch(task, device))
                if number == 0:
                    tracker.reset_mod_stats()
    parts = tracker.get_tracker_snapshot("peak")[device]
    named = {str(getattr(kind, "value", kind)): size for kind, size in parts.items()}
    return {
        "peak_gb": named.pop("Total") / GIGABYTE,
        "parts_gb": {kind: size / GIGABYTE for kind, size in named.items() if size},
        "measured": False,
        "device": "none: estimated, not measured",
    }


def _optimizer(task: FinetuneTask) -> torch.optim.AdamW:
    """As in training; the fused one alone, on a GPU, needs no memory of its own during a step."""
    groups = parameter_groups(task.named_parameters(), OPTIMISATION, 1e-3)
    return torch.optim.AdamW(groups, fused=task.device.type == "cuda" or None)


def _batch(task: FinetuneTask, device: torch.device) -> dict[str, torch.Tensor]:
    card = task.model.card
    shape = (1, *card.architecture.input_shape)
    return {
        "volume": torch.zeros(shape, dtype=torch.uint8, device=device),
        "labels": torch.zeros(1, len(card.labels), device=device),
        "present": torch.ones(1, 1, dtype=torch.bool, device=device),
    }


def _step(
    task: FinetuneTask, optimizer: torch.optim.Optimizer, batch: dict[str, torch.Tensor]
) -> None:
    """One step as Lightning makes it at ``precision: bf16-mixed``."""
    with torch.autocast(batch["volume"].device.type, dtype=torch.bfloat16):
        loss = task.training_step(batch, 0)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()


def _print_table(rows: list[dict[str, Any]]) -> None:
    table = Table(
        "Activation checkpointing", title="Fine-tuning a ViT-L on one volume of 48 x 256 x 256"
    )
    for heading in ("Peak GB", "Allowed", "OK", "How"):
        table.add_column(heading)
    for row in rows:
        table.add_row(
            "on" if row["checkpointing"] else "off",
            f"{row['peak_gb']:.2f}",
            f"{row['allowed_gb']:.1f}",
            "yes" if row["ok"] else "NO",
            f"measured on {row['device']}" if row["measured"] else "estimated, not measured",
        )
    Console().print(table)
