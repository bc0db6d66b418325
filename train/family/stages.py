"""A stage of the family: a command of ``python -m train``, what it needs and what it leaves."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

CONFIGS = Path(__file__).parent.parent / "configs" / "family"


@dataclass(frozen=True)
class Stage:
    """One step of the family.

    Attributes
    ----------
    name : folder of the stage below the family's
    arguments : of ``python -m train``; ``{family}`` stands for the family's folder, ``{stage}`` for the stage's
    product : what exists once the stage is done, below the family's folder
    needs : names of the stages that come before
    config : recipe in ``train/configs/family``, whose text belongs to the stage's identity
    trains : whether the command takes Lightning's trainer options and can resume
    """

    name: str
    arguments: tuple[str, ...]
    product: str
    needs: tuple[str, ...] = ()
    config: str | None = None
    trains: bool = False

    def command(self, family: Path) -> list[str]:
        """Arguments with the folders filled in."""
        folders = {"family": str(family), "stage": str(family / self.name)}
        config = [] if self.config is None else ["--config", str(CONFIGS / self.config)]
        command, *options = (part.format(**folders) for part in self.arguments)
        return [command, *config, *options]

    def fingerprint(self, before: dict[str, str]) -> str:
        """Identity of the stage: its arguments, its recipe, and the stages that it builds on."""
        recipe = "" if self.config is None else (CONFIGS / self.config).read_text()
        parts = [self.arguments, recipe, [before[name] for name in self.needs]]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
