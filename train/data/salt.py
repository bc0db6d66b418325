"""The salt of a store: the random text without which nobody gets a patient's id back from its hash.

It lies in the folder of the store, readable by its owner alone. It is needed to join labels by patient; whoever
publishes a store leaves it out. With ``--salt-file`` several stores share one, so that a patient has the same hash in
all of them.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from octcube_core.errors import InputError

SALT = "salt.txt"  # in the folder of a store; leave it out of a store that is given away


def read_salt_file(path: Path) -> str:
    """The salt in a user's file; made, readable by its owner alone, if there is no such file."""
    if not path.exists():
        write_salt(path, secrets.token_hex(16))
    salt = path.read_text(encoding="utf-8", errors="replace").strip()
    if len(salt) < 16:
        raise InputError(
            f"{path} holds no salt of at least 16 characters; name a file that does not exist to have one made."
        )
    return salt


def write_salt(path: Path, salt: str) -> None:
    """Write a salt so that only its owner can read it, at no time anyone else."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{salt}\n")
