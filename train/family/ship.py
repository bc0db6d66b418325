"""The family's products in the place of the models that ship with the package, and what was measured on them."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from octcube_core.checkpoints.released import PACKAGED
from octcube_core.errors import InputError
from octcube_core.whole_file import whole_file
from train.evaluation.center_slice import compare
from train.evaluation.results import PREDICTIONS

RECORD = Path(__file__).with_name("shipped.json")
# Stage -> the name by which its model ships.
PRODUCTS = {
    "demo": "demo",
    "ga": "demo-ga",
    "coep": "demo-coep",
    "mae": "demo-mae",
    "mae-enface": "demo-mae-enface",
}


def ship(family: Path) -> None:
    """Copy the products into the package, once the family's proof holds in every point, and write ``shipped.json``.

    Raises
    ------
    InputError
        If the proof is missing or does not hold, or the package cannot be written to.
    """
    proof = family / "proof.json"
    if not proof.is_file():
        raise InputError(f"{family} has no proof.json; run python -m train family --out {family}.")
    claims = json.loads(proof.read_text())
    failed = [claim["name"] for claim in claims if not claim["holds"]]
    if failed:
        raise InputError(
            f"The models that ship stay as they are, as the new ones fall short of: {'; '.join(failed)}."
        )
    volume, center = (
        pd.read_parquet(family / "tests" / name / PREDICTIONS) for name in ("demo", "center")
    )
    record = {"claims": claims, "center_slice": compare(volume, center)}
    try:
        for stage, name in PRODUCTS.items():
            with whole_file(PACKAGED[name]) as partial:
                shutil.copyfile(family / f"{stage}.safetensors", partial)
        with whole_file(RECORD) as partial:
            partial.write_text(json.dumps({"sha256": fingerprints(), **record}, indent=1) + "\n")
    except OSError as error:
        raise InputError(f"The package cannot be written to ({error.strerror}).") from error


def fingerprints() -> dict[str, str]:
    """SHA-256 of each model that ships, by its name."""
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in PACKAGED.items()}


def shipped() -> dict[str, Any]:
    """What was measured on the models that ship: ``sha256``, ``claims`` and ``center_slice``."""
    record: dict[str, Any] = json.loads(RECORD.read_text())
    return record
