"""Arguments that several commands take."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from octcube_core.exam import Exam

PRECISIONS = ("auto", "fp32", "bf16", "fp16")


def add_exam(command: argparse.ArgumentParser) -> None:
    """Add which exam to read, and what its file does not state."""
    command.add_argument("path", type=Path, metavar="PATH", help="file or folder of the exam")
    command.add_argument(
        "--exam",
        type=positive,
        metavar="N",
        help="which of several exams, as octcube info lists them",
    )
    command.add_argument(
        "--axes", metavar="ORDER", help="order of the axes in the file, such as yxz"
    )
    command.add_argument(
        "--shape", type=shape, metavar="BxDxW", help="B-scans x depth x width of a raw file"
    )


def read_chosen(arguments: argparse.Namespace) -> Exam:
    """Read the exam that `add_exam`'s arguments choose."""
    from octcube_core.readers import read_exam

    return read_exam(
        arguments.path, axes=arguments.axes, shape=arguments.shape, exam=arguments.exam
    )


def add_runtime(command: argparse.ArgumentParser) -> None:
    """Add what says where and how a model runs."""
    command.add_argument(
        "--device", type=device, default="auto", help="auto, cpu, cuda, cuda:1, mps"
    )
    command.add_argument("--precision", choices=PRECISIONS, default="auto")


def device(text: str) -> str:
    """Where a model runs."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"unknown device {text!r}: auto, cpu, cuda, cuda:N or mps")
    return text


def positive(text: str) -> int:
    """Read a whole number above zero."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def shape(text: str) -> tuple[int, int, int]:
    """Three numbers, such as 128x1024x512."""
    sizes = re.fullmatch(r"(\d+)[x,](\d+)[x,](\d+)", text)
    if sizes is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no shape; give B-scans x depth x width, such as 128x1024x512"
        )
    return int(sizes[1]), int(sizes[2]), int(sizes[3])
