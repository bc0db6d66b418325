"""What an unfinished store holds already, so that a killed run goes on where it was.

``.NAME.unfinished`` beside the store has the store as far as it is made and a journal: a line about each shard,
written once the shard is on the disk. A line that was cut off counts for nothing; its shard is written anew.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from octcube_core.errors import InputError
from octcube_core.whole_file import whole_file
from train.data.only_run import lock_out_others
from train.data.store import GROUP


@dataclass(frozen=True)
class Block:
    """What became of the exams up to the end of a shard.

    Attributes
    ----------
    taken : number of exams, in order, that are dealt with
    rows : facts of those in the shard; ``number`` is that of the exam
    errors : those that could not be used
    """

    taken: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, Any]] = field(default_factory=list)


class Workplace:
    """The hidden folder of an unfinished store, open for one process."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.folder = target.with_name(f".{target.name}.unfinished")
        self.store = self.folder / "store"
        self._journal = self.folder / "journal.jsonl"
        self._command = self.folder / "command"
        self._lock: int | None = None

    @property
    def exists(self) -> bool:
        """Whether there is an unfinished store."""
        return self._command.is_file()

    def open(self) -> None:
        """Make the folder; InputError if another process works in it."""
        try:
            # Nobody else needs to see what is not finished.
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"Cannot write to {self.target.parent} ({error.strerror}); choose another --store."
            ) from error
        self._lock = lock_out_others(self.folder / "lock", self.target)

    def begin(self, command: str) -> None:
        """State of which command the work is; everything else in the folder is in place."""
        with whole_file(self._command) as partial:
            partial.write_text(command, encoding="utf-8")

    def check(self, command: str) -> None:
        """InputError if the work is of another command."""
        if self._command.read_text(encoding="utf-8") != command:
            raise InputError(
                f"{self.folder} holds the unfinished work of other sources or options; give the same ones to go on, "
                "or delete that folder to begin anew."
            )

    def blocks(self) -> list[Block]:
        """The shards that are finished; what a killed process left half-written is removed."""
        for left in self.store.rglob("*.partial"):
            left.unlink()
        if not self._journal.is_file():
            return []
        content = self._journal.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            os.truncate(self._journal, len(whole))
        return [Block(**json.loads(line)) for line in whole.splitlines()]

    def add(self, block: Block, shard: int) -> None:
        """Note that the shard of a number is finished."""
        for array in _arrays(self.store):
            for file in (array / "c" / str(shard)).rglob("*"):
                _bring_to_disk(file)
        with self._journal.open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(asdict(block), allow_nan=False) + "\n")
            journal.flush()
            os.fsync(journal.fileno())

    def publish(self) -> None:
        """Give the finished store its name; it appears whole or not at all."""
        self.store.rename(self.target)
        self.discard()

    def discard(self) -> None:
        """Remove the folder and all that is in it."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self) -> None:
        """Let other processes work in the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _arrays(store: Path) -> list[Path]:
    group = store / GROUP
    return [group / "volumes", *(group / "images").glob("*")]


def _bring_to_disk(file: Path) -> None:
    """So that after a power failure too the journal tells the truth."""
    if file.is_file():
        with file.open("rb+") as opened:
            os.fsync(opened.fileno())
