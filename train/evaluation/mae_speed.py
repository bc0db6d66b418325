"""``python -m train mae-speed``: volumes per second, use of the GPU and memory of MAE training, by ``decode_fraction``.

Every row trains the same model: forward pass, backward pass and optimiser step. The plain decoder attends over all
tokens of the volume, as the reference's; the others over the visible tokens and a random part of the hidden ones.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from octcube_core.checkpoints.card import Architecture, Decoder, ModelCard
from octcube_core.errors import InputError
from octcube_core.models.mae import MaskedAutoencoder
from octcube_core.models.random_weights import CUBE
from octcube_core.runtime import (
    PRECISIONS,
    choose_device,
    choose_precision,
    device_label,
    precision_label,
    synchronise,
)
from octcube_core.token_grid import Triple, grid_of
from train.tasks.masking import Masking

# Dense bf16 TFLOPS in the makers' data sheets, by what a GPU's name contains.
PEAK_TFLOPS = {"H200": 989.0, "H100": 989.0, "A100": 312.0, "L40S": 362.0, "4090": 165.0}
GOAL = 2.5  # times the plain decoder's speed
HEAD_DIM, DECODER_HEAD_DIM = 64, 32
WARM_UP = 2


@dataclass(frozen=True)
class Sizes:
    """The model to measure and its batch."""

    embed_dim: int
    depth: int
    decoder_dim: int
    decoder_depth: int
    shape: Triple
    batch: int

    def card(self) -> ModelCard:
        """Card of a model of these sizes; InputError if they fit none."""
        grid = grid_of(self.shape, CUBE)
        if grid is None:
            raise InputError(f"The cubes of {CUBE} do not divide volumes of {self.shape}.")
        if self.embed_dim % HEAD_DIM or self.decoder_dim % DECODER_HEAD_DIM:
            raise InputError(
                f"The encoder needs a multiple of {HEAD_DIM} features, the decoder of {DECODER_HEAD_DIM}."
            )
        dim, width = self.embed_dim, self.decoder_dim
        return ModelCard(
            "MAE of random weights",
            "0",
            Architecture(dim, self.depth, dim // HEAD_DIM, CUBE, grid, 4 * dim, True),
            decoder=Decoder(width, self.decoder_depth, width // DECODER_HEAD_DIM, 4 * width, True),
        )

    def flops(self, masking: Masking) -> float:
        """Floating-point operations of the matrix products of one volume, forwards and backwards (three forwards)."""
        tokens = math.prod(size // cube for size, cube in zip(self.shape, CUBE, strict=True))
        visible, predicted = masking.counts(tokens)
        voxels, width = math.prod(CUBE), self.decoder_dim
        decoded = 1 + visible + predicted
        forward = _blocks(1 + visible, self.embed_dim, self.depth)
        forward += _blocks(decoded, width, self.decoder_depth)
        forward += 2 * visible * self.embed_dim * (voxels + width) + 2 * predicted * width * voxels
        return 3.0 * forward


def _blocks(tokens: int, dim: int, depth: int) -> int:
    """Operations of transformer blocks: 12 dim^2 products a token, and two of all tokens with all."""
    return depth * (2 * tokens * 12 * dim**2 + 4 * tokens**2 * dim)


@dataclass(frozen=True)
class Run:
    """How the model is trained."""

    device: torch.device
    dtype: torch.dtype
    steps: int
    mask_ratio: float
    checkpointing: bool
    compiled: bool


def measure(sizes: Sizes, fraction: float, run: Run) -> dict[str, Any]:
    """Median step of a training that predicts a share of the hidden tokens.

    Returns
    -------
    dict
        ``volumes_per_s``, ``step_s``, ``tflops`` (achieved) and, on a GPU, ``peak_gb``.
    """
    torch.manual_seed(0)
    with torch.device(run.device):
        model = MaskedAutoencoder(sizes.card())
    model.encoder.checkpointing = model.decoder.checkpointing = run.checkpointing
    if run.compiled:
        for block in (*model.encoder.blocks, *model.decoder.blocks):
            block.compile()
    cuda = run.device.type == "cuda"
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=cuda or None)
    volume = torch.randint(0, 256, (sizes.batch, 1, *sizes.shape), dtype=torch.uint8)
    volume, masking = volume.to(run.device), Masking(run.mask_ratio, fraction)
    if cuda:
        torch.cuda.reset_peak_memory_stats(run.device)
    seconds = []
    for _ in range(WARM_UP + run.steps):
        start = time.perf_counter()
        masks = masking.draw(sizes.batch, math.prod(model.encoder.grid(volume))).to(run.device)
        with torch.autocast(run.device.type, run.dtype, enabled=run.dtype != torch.float32):
            loss = model(volume, masks.keep, masks.decode).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        synchronise(run.device)
        seconds.append(time.perf_counter() - start)
    step = median(seconds[WARM_UP:])
    found = {
        "decode_fraction": fraction,
        "volumes_per_s": sizes.batch / step,
        "step_s": step,
        "tflops": sizes.batch * sizes.flops(masking) / step / 1e12,
    }
    if cuda:
        found["peak_gb"] = torch.cuda.max_memory_allocated(run.device) / 1e9
    return found


def main(argv: list[str]) -> None:
    """Measure the plain decoder and each fraction, print a table or JSON."""
    arguments = _parser().parse_args(argv)
    if arguments.steps < 1 or arguments.batch < 1:
        raise InputError("--steps and --batch must be at least 1.")
    device = choose_device(arguments.device)
    run = Run(
        device,
        choose_precision(arguments.precision, device),
        arguments.steps,
        arguments.mask_ratio,
        arguments.checkpointing,
        arguments.compile,
    )
    sizes = Sizes(
        arguments.embed_dim,
        arguments.depth,
        arguments.decoder_dim,
        arguments.decoder_depth,
        tuple(arguments.size),
        arguments.batch,
    )
    fractions = [1.0, *(part for part in arguments.fractions if part != 1)]
    rows = []
    for fraction in track(fractions, "Training", console=Console(stderr=True), transient=True):
        rows.append(measure(sizes, fraction, run))
        rows[-1]["speedup"] = rows[-1]["volumes_per_s"] / rows[0]["volumes_per_s"]
    peak = arguments.peak_tflops or _peak(run)
    for row in rows:
        row["mfu"] = None if peak is None else row["tflops"] / peak
    result = {
        "device": device_label(device),
        "precision": precision_label(run.dtype),
        "peak_tflops": peak,
        "goal": GOAL,
        "settings": vars(arguments),
        "rows": rows,
    }
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        _print(result)


def _peak(run: Run) -> float | None:
    if run.device.type != "cuda" or run.dtype == torch.float32:
        return None
    name = torch.cuda.get_device_name(run.device)
    return next((peak for part, peak in PEAK_TFLOPS.items() if part in name), None)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m train mae-speed", description=__doc__)
    add = parser.add_argument
    add("--size", type=int, nargs=3, default=(60, 256, 256), help="frames, height, width")
    add("--embed-dim", type=int, default=1024, help="features of the encoder (default 1024)")
    add("--depth", type=int, default=24, help="blocks of the encoder (default 24)")
    add("--decoder-dim", type=int, default=512)
    add("--decoder-depth", type=int, default=8)
    add("--batch", type=int, default=4, help="volumes per step (default 4)")
    add("--mask-ratio", type=float, default=0.9)
    add(
        "--fractions", type=float, nargs="*", default=[0.25, 0.1], help="decode_fraction (0.25 0.1)"
    )
    add("--steps", type=int, default=10, help="measured steps (default 10)")
    add("--device", default="auto")
    add("--precision", choices=("auto", *PRECISIONS), default="auto")
    add("--checkpointing", action="store_true", help="with activation checkpointing")
    add("--compile", action="store_true", help="with compiled blocks")
    add("--peak-tflops", type=float, help="of the device in this precision, for the MFU")
    add("--json", action="store_true", help="print JSON instead of a table")
    return parser


def _print(result: dict[str, Any]) -> None:
    table = Table(title=f"MAE training, {result['device']}, {result['precision']}")
    for name in ("decoder", "volumes/s", "x plain", "TFLOPS", "MFU", "peak GB"):
        table.add_column(name, justify="left" if name == "decoder" else "right")
    for row in result["rows"]:
        plain = row["decode_fraction"] == 1
        table.add_row(
            "plain" if plain else f"fraction {row['decode_fraction']:g}",
            f"{row['volumes_per_s']:.2f}",
            f"{row['speedup']:.2f}",
            f"{row['tflops']:.2f}",
            "" if row["mfu"] is None else f"{row['mfu']:.0%}",
            f"{row['peak_gb']:.1f}" if "peak_gb" in row else "",
        )
    Console().print(table)
