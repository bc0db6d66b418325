"""What a store is to hold, and how a process that knows it prepares exams by their numbers.

Neither zarr nor pandas is imported here: each process that reads exams would have to load them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from octcube_core.exam import Patient
from train.data.prepare.exam_rows import Recipe, Refusal, Row, prepare_row
from train.data.prepare.identity import without_identity
from train.data.prepare.reference_layout import NAMES, name_pattern
from train.data.prepare.sources import Listed, list_exams


@dataclass(frozen=True)
class Plan:
    """All that decides what the store will hold.

    Attributes
    ----------
    sources : files and folders, as the user gave them
    recipe : how exams become rows
    shares : of the patients that train, validate and test
    seed : of that division
    names : pattern of file names that hold the patient, if the user states one
    codec : of the store
    """

    sources: tuple[str, ...]
    recipe: Recipe
    shares: tuple[float, float, float]
    seed: int
    names: str | None
    codec: Literal["none", "zstd"]

    def listing(self) -> list[Listed]:
        """All exams of all sources, in their order."""
        patterns = (name_pattern(self.names), *NAMES) if self.names is not None else NAMES
        return [listed for source in self.sources for listed in list_exams(Path(source), patterns)]

    def fingerprint(self, listing: Sequence[Listed], salt: str) -> str:
        """What tells this plan with these exams from others; nothing can be read from it."""
        content = asdict(self) | {
            "sources": [str(Path(source).resolve()) for source in self.sources],
            "exams": [listed.shown for listed in listing],
        }
        text = json.dumps(content, sort_keys=True)
        return hmac.new(salt.encode(), text.encode(), hashlib.sha256).hexdigest()


def lost(listed: Listed, salt: str) -> Refusal:
    """The refusal of an exam whose process died."""
    return Refusal(
        without_identity(listed.shown, Patient(), listed.folder_patient, salt),
        "Reading it ended the process: it is damaged in a way that crashes a library, or needs more memory than there "
        "is; export it again, or try it with --workers 1.",
    )


_state: tuple[Plan, str, list[Listed]]


def start(plan: Plan, salt: str) -> None:
    """Set up a process: exams cannot be sent to it, so it lists them itself."""
    import torch

    torch.set_num_threads(1)
    global _state
    _state = plan, salt, plan.listing()


def run(number: int) -> Row | Refusal:
    """Prepare the exam of a number in a process that is set up."""
    plan, salt, listing = _state
    return prepare_row(listing[number], plan.recipe, salt)
