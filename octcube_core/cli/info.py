"""``octcube info``: what an exam is, or which exams a folder holds."""

from __future__ import annotations

import argparse
from typing import Any

from octcube_core.cli.arguments import add_exam
from octcube_core.cli.output import print_json, print_table


def add(commands: Any) -> None:
    """Add the command."""
    info = commands.add_parser("info", help="say what an exam is")
    add_exam(info)
    info.add_argument("--json", action="store_true", help="print JSON")
    info.set_defaults(run=_info)


def _info(arguments: argparse.Namespace) -> None:
    from octcube_core.export import exam_facts
    from octcube_core.readers import read_exam

    facts = exam_facts(
        read_exam(arguments.path, axes=arguments.axes, shape=arguments.shape, exam=arguments.exam)
    )
    if arguments.json:
        print_json(facts)
    else:
        print_table(_facts_rows(facts), facts["warnings"])


def _facts_rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    bscans, depth, width = facts["shape"]
    rows = [
        ("Format", facts["format"] or "unknown"),
        ("Modalities", ", ".join(facts["modalities"])),
        ("Eye", facts["laterality"] or "unknown"),
        ("Device", facts["device"] or "unknown"),
        ("Scan pattern", facts["scan_pattern"] or "unknown"),
        ("Volume", f"{bscans} B-scans of {depth} x {width} (depth x width)"),
    ]
    names = ("between B-scans", "axial", "lateral")
    spacings = zip(names, facts["spacing_mm"], strict=True)
    rows.append(("Spacing", ", ".join(f"{name} {_micrometres(value)}" for name, value in spacings)))
    for image in facts["enface"]:
        height, columns = image["shape"]
        row, column = (_micrometres(value) for value in image["spacing_mm"])
        pixel = row if row == column else f"{row} x {column}"
        rows.append((image["modality"], f"{height} x {columns} pixels, pixel {pixel}"))
    placed = "known" if facts["bscan_locations_known"] else "unknown"
    return [*rows, ("B-scans on en face", placed)]


def _micrometres(spacing_mm: float | None) -> str:
    return "unknown" if spacing_mm is None else f"{spacing_mm * 1000:.4g} um"
