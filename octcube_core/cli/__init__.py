"""The command ``octcube``; a module for each subcommand. Wrong input is said in one line, with exit code 2."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from octcube_core import __version__
from octcube_core.cli import (
    analyze,
    bench,
    convert,
    export,
    formats,
    index,
    info,
    models,
    search,
)
from octcube_core.errors import InputError, OCTCubeError
from octcube_core.tied import TERMINATED, end_with_input

BAD_INPUT, BROKEN_PIPE, INTERRUPTED = 2, 1, 130
COMMANDS = (info, formats, export, models, convert, analyze, index, search, bench)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        signal.signal(signal.SIGTERM, _terminate)
        end_with_input()
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A name that the terminal cannot show must not end the command.
            sys.stdout.reconfigure(errors="backslashreplace")
        arguments = _parser().parse_args(argv)
        arguments.run(arguments)
        sys.stdout.flush()
    except (OCTCubeError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            # The interpreter flushes stdout once more when it exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return BROKEN_PIPE
        print(f"octcube: error: {' '.join(str(error).split())}", file=sys.stderr)  # noqa: T201
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _terminate(*_: object) -> NoReturn:
    """End as after Ctrl-C, so that what is half written is removed."""
    raise SystemExit(TERMINATED)


class _Parser(argparse.ArgumentParser):
    """Reports a bad argument like any other bad input: in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see {self.prog} --help)")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        sys.stdout.flush()  # a closed pipe is noticed here, not when the interpreter ends
        super().exit(status, message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="octcube",
        description="Retinal OCT with the OCTCube-M models. Research use only; not for diagnosis.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(commands)
    return parser
