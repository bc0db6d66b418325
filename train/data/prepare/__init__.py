"""``python -m train prepare``: exams of any format that can be read -> a store for training."""

from __future__ import annotations


def main(argv: list[str]) -> None:
    """Run the command; what it needs is loaded here, as the processes that read exams do not need it."""
    from train.data.prepare.command import main

    main(argv)
