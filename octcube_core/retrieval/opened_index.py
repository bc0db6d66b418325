"""An index that is open: its tables, its model, and the secret without which nobody is known."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

from octcube_core.errors import EmbeddingIndexError, InputError
from octcube_core.results import ModelIdentity
from octcube_core.retrieval.database import Database
from octcube_core.retrieval.postgres_address import is_postgres
from octcube_core.retrieval.postgres_database import PostgresDatabase
from octcube_core.retrieval.secret import Secret, salt_file
from octcube_core.retrieval.sqlite_database import SQLiteDatabase

_MODEL = ("model_title", "model_hash", "model_features", "model_source")


class OpenedIndex:
    """What an index is, before anything is asked of it; see ``EmbeddingIndex``."""

    _about: dict[str, str]
    _model: ModelIdentity | None
    _secret: Secret | None

    def __init__(self, address: str | os.PathLike[str], *, create: bool = True) -> None:
        text = os.fspath(address)
        self._database: Database = (
            PostgresDatabase(text, create=create)
            if is_postgres(text)
            else SQLiteDatabase(Path(text).expanduser(), create=create)
        )
        try:
            with self._database.lock, self._database.reading():
                self._begin()
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the file or the connection."""
        self._database.close()

    @property
    def where(self) -> str:
        """What to call the index in a sentence; never a password."""
        return self._database.where

    @property
    def read_only(self) -> bool:
        """Whether nothing can be added."""
        return self._database.read_only

    @property
    def model(self) -> ModelIdentity | None:
        """Which model made the embeddings; None while there are none."""
        if self._model is None:
            with self._database.lock, self._database.reading():
                self._model = _model_of(self._database.about())
        return self._model

    @property
    def secret(self) -> Secret | None:
        """The secret of the index; None if this user has it not: then exams can neither be added nor opened."""
        return self._secret

    def take_salt(self, file: Path) -> None:
        """Keep the salt in a file, from where the index was made, as this user's own; InputError if it is another."""
        secret = Secret.read(file)
        if secret.verifier != self._about["verifier"]:
            raise InputError(f"The salt in {file} is not that of the index {self.where}.")
        secret.keep(self._about["id"])
        self._secret = secret

    @property
    def salt_file(self) -> Path:
        """Where the salt lies in this user's configuration, or would lie."""
        return salt_file(self._about["id"])

    def _begin(self) -> None:
        """Read what is known of the index, stating it first if it is new; then the embeddings."""
        about = self._database.about() if self._has_tables() else {}
        if "id" not in about and not self._database.read_only:
            with self._database.transaction():
                if "id" not in self._database.about():  # else another process was first
                    secret, number = Secret.new(), uuid.uuid4().hex
                    secret.keep(number)  # first: an index whose salt is lost is of little use
                    self._database.state({"id": number, "verifier": secret.verifier})
                about = self._database.about()
        if not {"id", "verifier"} <= about.keys():
            raise EmbeddingIndexError(f"{self.where} holds no index of embeddings.")
        self._about = about
        self._secret = Secret.find(about["id"])
        if self._secret is not None and self._secret.verifier != about["verifier"]:
            raise InputError(
                f"The salt in {salt_file(about['id'])} is not that of the index; copy the right file there."
            )
        self._model = _model_of(about)
        self._load()

    def _has_tables(self) -> bool:
        try:
            self._database.about()
        except Exception as error:
            if "no such table" in str(error):
                return False
            raise
        return True

    def _load(self) -> None:
        if self._model is not None:
            self._database.load(self._model.features)

    def needed_secret(self) -> Secret:
        """The secret of the index; EmbeddingIndexError if this user has it not."""
        if self._secret is None:
            raise EmbeddingIndexError(
                f"This computer has not the salt of the index {self.where}: copy the file {self.salt_file.name} from"
                f" the folder {self.salt_file.parent} of who made it (octcube index --db ... --salt FILE takes it)."
            )
        return self._secret

    def check_model(self, model: ModelIdentity) -> None:
        """Raise EmbeddingIndexError if the index was made by another model."""
        self._compare(self.model, model)

    def _compare(self, mine: ModelIdentity | None, model: ModelIdentity) -> None:
        if mine is not None and mine.hash != model.hash:
            other = "another version of it" if mine.title == model.title else model.title
            raise EmbeddingIndexError(
                f"The index {self.where} was made by {mine.title} ({mine.hash[:8]}), whose embeddings cannot be"
                f" compared with those of {other} ({model.hash[:8]}); use that model, or another index."
            )

    def _agree_on(self, model: ModelIdentity) -> None:
        """State the model of a new index; EmbeddingIndexError if the index is another model's."""
        self.check_model(model)
        if self.model is not None:
            return
        values = model.title, model.hash, str(model.features), model.source
        with self._database.transaction():
            self._database.state({"model": json.dumps(dict(zip(_MODEL, values, strict=True)))})
            # Another process may have been first, with another model.
            stated = _model_of(self._database.about())
            self._compare(stated, model)
            self._database.set_features(model.features)
        self._model = stated  # not before it is written: the disk may be full


def _model_of(about: dict[str, str]) -> ModelIdentity | None:
    if "model" not in about:
        return None
    title, digest, features, source = (json.loads(about["model"])[name] for name in _MODEL)
    return ModelIdentity(title, digest, int(features), source)
