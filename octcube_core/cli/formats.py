"""``octcube formats``: what can be read, what each format yields and what it needs."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from octcube_core.cli.output import print_columns, print_json, print_lines

if TYPE_CHECKING:
    from octcube_core.readers.formats import Format

AXIS_LETTERS = {"z": "B-scan", "y": "depth", "x": "width"}


def add(commands: Any) -> None:
    """Add the command."""
    formats = commands.add_parser("formats", help="list the formats that can be read")
    formats.add_argument("--json", action="store_true", help="print JSON")
    formats.set_defaults(run=_formats)


def _formats(arguments: argparse.Namespace) -> None:
    from octcube_core.readers.formats import ALL_FORMATS

    facts = [_facts(entry) for entry in ALL_FORMATS]
    if arguments.json:
        print_json({"axes": AXIS_LETTERS, "formats": facts})
        return
    header = ("Format", "Files", "Gives", "Options", "Needs")
    print_columns(header, [_cells(fact) for fact in facts])
    letters = ", ".join(f"{letter} = {axis}" for letter, axis in AXIS_LETTERS.items())
    print_lines(
        "",
        f"--axes names the axes of an array in the order of the file: {letters}; 'yxz' for depth x width x B-scans.",
        "--shape states the B-scans x depth x width of a raw file.",
        "A file or folder with several exams is listed by octcube info; --exam N chooses one.",
    )


def _facts(entry: Format) -> dict[str, Any]:
    return {
        "name": entry.name,
        "files": entry.files,
        "gives": entry.gives,
        "several_exams": entry.several,
        "options": sorted(f"--{name}" for name in entry.options),
        "library": entry.library or None,
        "extra": entry.extra or None,
        "installed": not entry.library or find_spec(entry.library) is not None,
    }


def _cells(facts: dict[str, Any]) -> tuple[str, ...]:
    needs = ""
    if facts["library"]:
        missing = f"missing: pip install 'napari-octcube[{facts['extra']}]'"
        needs = f"{facts['library']} ({'installed' if facts['installed'] else missing})"
    options = ", ".join(facts["options"])
    return facts["name"], facts["files"], facts["gives"], options, needs
