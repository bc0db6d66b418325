"""The secret of an index: a salt that stays in the user's configuration, and what is hashed and encrypted with it.

The database gets no name, id, birth date or date: patients are salted hashes, visits are days on calendars of the
patients' own, and where an exam lies (paths often hold names) is encrypted. A copy of the database alone tells nobody
who is in it. Who may add exams or open neighbours needs the salt as well, a small file.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from pathlib import Path

from platformdirs import user_config_path

from octcube_core.errors import InputError
from octcube_core.exam import Exam, Patient
from octcube_core.identity import patient_hash, shifted_day
from octcube_core.retrieval.records import Identity, Location
from octcube_core.whole_file import whole_file

CONFIGURATION_VARIABLE = "OCTCUBE_CONFIG"
_LEAST_LENGTH = 32


def configuration_folder() -> Path:
    """The user's configuration: the folder that OCTCUBE_CONFIG names, else where the system keeps such things."""
    named = os.environ.get(CONFIGURATION_VARIABLE)
    return Path(named).expanduser() if named else user_config_path("octcube", appauthor=False)


def salt_file(index_id: str) -> Path:
    """Where the salt of an index lies."""
    return configuration_folder() / "salts" / f"{index_id}.txt"


class Secret:
    """What one salt hashes and encrypts."""

    def __init__(self, salt: str) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV

        self.salt = salt
        # Deterministic (RFC 5297): the same place gives the same bytes, so that it can be looked up.
        self._cipher = AESSIV(hashlib.sha512(f"location key {salt}".encode()).digest())

    @classmethod
    def new(cls) -> Secret:
        """A secret that nobody has yet."""
        return cls(secrets.token_hex(32))

    @classmethod
    def find(cls, index_id: str) -> Secret | None:
        """The secret of an index from the user's configuration; None if this user has it not."""
        file = salt_file(index_id)
        return cls.read(file) if file.is_file() else None

    @classmethod
    def read(cls, file: Path) -> Secret:
        """The secret in a file; InputError if there is none."""
        try:
            salt = file.read_text(encoding="utf-8", errors="replace").strip()
        except OSError as error:
            raise InputError(
                f"The salt in {file} cannot be read ({error.strerror}); correct the file's permissions."
            ) from error
        if len(salt) < _LEAST_LENGTH:
            raise InputError(
                f"{file} holds no salt of an index; copy the whole file from where the index was made."
            )
        return cls(salt)

    def keep(self, index_id: str) -> Path:
        """Write the salt into the user's configuration, readable by its owner alone; return the file."""
        file = salt_file(index_id)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(file) as partial:
                descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
                    opened.write(f"{self.salt}\n")
                    opened.flush()
                    # An index that outlives its salt in a power cut is of little use.
                    os.fsync(opened.fileno())
        except OSError as error:
            raise InputError(
                f"The salt of the index cannot be kept in {file.parent} ({error.strerror}); make room or correct its"
                f" permissions, or name another folder with {CONFIGURATION_VARIABLE}."
            ) from error
        return file

    @property
    def verifier(self) -> str:
        """What tells whether a salt is that of an index, and nothing of the salt."""
        return self._keyed("verifier")

    def identity(self, exam: Exam) -> Identity:
        """Whose an exam is and of when, without telling who."""
        person = _identifier(exam.patient)
        return Identity(
            self.content(exam),
            patient_hash(person, self.salt) if person else None,
            exam.laterality,
            shifted_day(exam.patient.exam_date, person, self.salt) if person else None,
        )

    def content(self, exam: Exam) -> str:
        """Hash of everything that a model can see of an exam: the volume and the en-face images."""
        digest = hmac.new(self.salt.encode(), digestmod=hashlib.sha256)
        voxels = exam.volume.voxels
        digest.update(f"{voxels.shape} {voxels.dtype} {exam.volume.black_white}".encode())
        for bscan in voxels:  # one by one: a mapped volume is never held as a whole
            digest.update(bscan.tobytes())
        for image in exam.enface:
            digest.update(f"{image.modality} {image.shape} {image.pixels.dtype}".encode())
            digest.update(image.pixels.tobytes())
        return digest.hexdigest()[:32]

    def stamp(self, location: Location) -> str | None:
        """Keyed hash of an exam's place and of its files' sizes and times of change; None if it is not there."""
        path = location.path
        try:
            files = sorted(path.rglob("*")) if path.is_dir() else [path]
            states = [
                (file.name, (state := file.stat()).st_size, state.st_mtime_ns) for file in files
            ]
        except OSError:
            return None
        return self._keyed("stamp", str(path), location.part, repr(states))[:32]

    def seal(self, location: Location) -> bytes:
        """Encrypt where an exam lies."""
        place = [str(location.path), location.part]
        return self._cipher.encrypt(json.dumps(place).encode(), None)

    def unseal(self, sealed: bytes) -> Location | None:
        """Where an exam lies; None if it was sealed with another secret."""
        from cryptography.exceptions import InvalidTag

        try:
            path, part = json.loads(self._cipher.decrypt(sealed, None))
        except (InvalidTag, ValueError):
            return None
        return Location(Path(path), part)

    def _keyed(self, *words: str) -> str:
        text = "\0".join(words).encode(errors="surrogateescape")
        return hmac.new(self.salt.encode(), text, hashlib.sha256).hexdigest()


def _identifier(patient: Patient) -> str:
    """What tells a patient from others: the id, or name and birth date together."""
    if patient.id and patient.id.strip():
        return patient.id
    if patient.name and patient.birth_date:
        return f"{patient.name.strip().casefold()} {patient.birth_date}"
    return ""
