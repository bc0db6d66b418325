"""``octcube convert``: a model file from the reference's layout to ours, or back."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octcube_core.cli.arguments import positive
from octcube_core.cli.output import print_table, progress
from octcube_core.errors import CheckpointError, InputError

if TYPE_CHECKING:
    from octcube_core.checkpoints.convert import Conversion

LAYOUTS = {"ours": "ours (safetensors with a model card)", "reference": "the reference's (PyTorch)"}


def add(commands: Any) -> None:
    """Add the command."""
    convert = commands.add_parser(
        "convert", help="bring a model file into our layout, or back into the reference's"
    )
    convert.add_argument(
        "source", metavar="NAME_OR_FILE", help="a released or converted file, e.g. OCTCube.pth"
    )
    convert.add_argument("--to", required=True, type=Path, metavar="FILE", help="what to write")
    convert.add_argument(
        "--layout", choices=LAYOUTS, help="of the new file (default: the one the source has not)"
    )
    convert.add_argument(
        "--input-shape",
        nargs=3,
        type=positive,
        metavar=("FRAMES", "HEIGHT", "WIDTH"),
        help="what the model sees; the reference's files do not state rows and columns (default: as nearly square "
        "as their number allows)",
    )
    convert.add_argument("--force", action="store_true", help="replace an existing file")
    convert.set_defaults(run=_convert)


def _convert(arguments: argparse.Namespace) -> None:
    target = arguments.to.expanduser()
    # Before anything is read or downloaded: what cannot be written must not cost minutes.
    _check_target(target, arguments.force)
    from octcube_core.checkpoints.hub import locate

    with progress() as on_progress:
        on_progress("Looking for the model", 0.0)
        source = locate(arguments.source, on_progress)
        layout = _new_layout(source, arguments.layout)
        on_progress("Converting", 0.0)
        done = _converted(arguments, source, target, layout)
    rows = [
        ("Model", done.card.title),
        ("Kind", done.card.kind),
        ("Layout", LAYOUTS[layout]),
        ("Tensors", f"{done.tensors}, {' and '.join(done.dtypes)}"),
        ("Size", f"{target.stat().st_size / 1e6:,.1f} MB"),
        ("Written", str(target)),
    ]
    print_table(rows, _warnings(done, layout))


def _check_target(target: Path, force: bool) -> None:
    try:
        target.exists()
    except OSError as error:
        raise InputError(f"{target} cannot be written ({error.strerror}).") from error
    if target.is_dir():
        raise InputError(f"{target} is a folder; give the name of a file with --to.")
    if not target.parent.is_dir():
        raise InputError(f"There is no folder {target.parent}; make it first.")
    if target.exists() and not target.is_file():
        raise InputError(f"{target} is no ordinary file; give another name with --to.")
    if target.exists() and not force:
        raise InputError(f"{target} exists; give another name, or --force to replace it.")


def _new_layout(source: Path, wanted: str | None) -> str:
    from octcube_core.checkpoints.zoo import is_torch_file

    own, other = ("reference", "ours") if is_torch_file(source) else ("ours", "reference")
    if wanted == own:
        raise CheckpointError(
            f"{source} is in the layout {own!r} already; give --layout {other}, or leave it out."
        )
    return other


def _converted(
    arguments: argparse.Namespace, source: Path, target: Path, layout: str
) -> Conversion:
    from octcube_core.checkpoints.convert import to_ours, to_reference

    if layout == "reference":
        if arguments.input_shape is not None:
            raise InputError(
                "--input-shape is for files of the reference; the layout written here states none."
            )
        return to_reference(source, target)
    return to_ours(
        source,
        target,
        input_shape=arguments.input_shape and tuple(arguments.input_shape),
        name=arguments.source,
    )


def _warnings(done: Conversion, layout: str) -> list[str]:
    from octcube_core.checkpoints.input_shape import assumed_table

    warnings = []
    _, rows, columns = done.card.architecture.table_grid
    if layout == "ours" and rows != columns and assumed_table(done.card):
        warnings.append(
            f"The file does not state rows and columns; taken as {rows} x {columns} patches, "
            "give --input-shape if that is wrong."
        )
    if done.left_out:
        warnings.append(f"Not carried over: {', '.join(done.left_out)}.")
    if done.unused and layout == "ours":
        names = sorted({name.split(".")[0].split("_")[0] for name in done.unused})
        warnings.append(
            f"{len(done.unused)} tensors are kept for the way back and used by nothing here ({', '.join(names)})."
        )
    return warnings
