"""``octcube-viewer``: napari with the OCTCube dock, an exam, and if asked its analysis and a screenshot."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

TABS = ("analysis", "localizer", "similar", "report")
QT_BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="octcube-viewer",
        description="View retinal OCT exams and analyse them. Research use only; not for diagnosis.",
    )
    parser.add_argument("path", nargs="?", type=Path, help="exam: a file or a folder")
    parser.add_argument(
        "--demo", action="store_true", help="open a synthetic eye with two diseases and analyse it"
    )
    parser.add_argument(
        "--exam", type=int, metavar="N", help="which of several exams of PATH (default: ask)"
    )
    parser.add_argument(
        "--tab", choices=TABS, default=TABS[0], help="tab of the dock to start with"
    )
    parser.add_argument("--analyze", action="store_true", help="analyse the exam at once")
    parser.add_argument(
        "--model", help="name or file of the model (default: what the settings say, else demo)"
    )
    parser.add_argument(
        "--screenshot", type=Path, metavar="FILE", help="write a picture of the window and exit"
    )
    options = parser.parse_args(arguments)
    if options.demo and options.path:
        parser.error("give either PATH or --demo, not both")
    if options.exam is not None and not options.path:
        parser.error("--exam needs a PATH that holds several exams")
    if options.analyze and not (options.demo or options.path):
        parser.error("--analyze needs a PATH to an exam, or --demo")
    return options


def missing_requirement() -> str | None:
    """One sentence on why no window can open here, None if one can."""
    if not any(importlib.util.find_spec(binding) for binding in QT_BINDINGS):
        return 'No Qt binding is installed; run: pip install "napari-octcube[all]"'
    if os.environ.get("QT_QPA_PLATFORM", "").split(":")[0] in ("offscreen", "minimal"):
        return (
            "QT_QPA_PLATFORM asks Qt for a platform that cannot draw images; "
            "unset it, and without a display use: xvfb-run -a octcube-viewer …"
        )
    has_display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if sys.platform.startswith("linux") and not has_display:
        return (
            "There is no display; use: "
            'xvfb-run -a -s "-screen 0 1366x768x24" octcube-viewer … --screenshot FILE'
        )
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the viewer; return the exit code: 0, or 2 with one line on stderr."""
    options = parse_arguments(arguments)
    if problem := missing_requirement():
        print(f"octcube-viewer: error: {problem}", file=sys.stderr)  # noqa: T201
        return 2
    from napari_octcube._application import run  # Qt and napari only once they can work

    return run(options)


if __name__ == "__main__":
    sys.exit(main())
