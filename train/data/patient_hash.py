"""What a store calls a patient: a salted hash of the id, from which nobody without the salt gets the id back."""

from __future__ import annotations

import hashlib
import hmac

SALT = "salt.txt"  # in the folder of a store; leave it out of a store that is given away


def patient_hash(identifier: str, salt: str) -> str:
    """Hash of a patient's id: 64 bits of HMAC-SHA-256 (RFC 2104) in hexadecimal; spaces around the id do not count."""
    digest = hmac.new(salt.encode(), identifier.strip().encode(), hashlib.sha256)
    return digest.hexdigest()[:16]
