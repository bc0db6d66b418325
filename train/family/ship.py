"""The family's products in the place of the models that ship with the package."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from octcube_core.checkpoints.released import PACKAGED
from octcube_core.errors import InputError
from octcube_core.whole_file import whole_file

# Stage -> the name by which its model ships.
PRODUCTS = {
    "demo": "demo",
    "ga": "demo-ga",
    "coep": "demo-coep",
    "mae": "demo-mae",
    "mae-enface": "demo-mae-enface",
}


def ship(family: Path) -> None:
    """Copy the products into the package, once the family's proof holds in every point; else InputError."""
    proof = family / "proof.json"
    if not proof.is_file():
        raise InputError(f"{family} has no proof.json; run python -m train family --out {family}.")
    failed = [claim["name"] for claim in json.loads(proof.read_text()) if not claim["holds"]]
    if failed:
        raise InputError(
            f"The models that ship stay as they are, as the new ones fall short of: {'; '.join(failed)}."
        )
    for stage, name in PRODUCTS.items():
        try:
            with whole_file(PACKAGED[name]) as partial:
                shutil.copyfile(family / f"{stage}.safetensors", partial)
        except OSError as error:
            raise InputError(f"{PACKAGED[name]} cannot be written ({error.strerror}).") from error
