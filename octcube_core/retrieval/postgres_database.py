"""An index in PostgreSQL with pgvector, for an archive that many share: half vectors, an HNSW graph per modality.

The graph finds nearly all of the nearest (Malkov and Yashunin, arXiv:1603.09320); filters are applied while it is
walked, further and further until enough are found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import EmbeddingIndexError, InputError
from octcube_core.retrieval.database import VERSION, Database
from octcube_core.retrieval.faults import newer, postgres_sentence
from octcube_core.retrieval.postgres_address import NO_ADDRESS, split_address, without_password
from octcube_core.retrieval.postgres_filters import conditions
from octcube_core.retrieval.records import Filters, Identity, IndexedExam

if TYPE_CHECKING:
    import psycopg

PATIENCE_S = 30
# Candidates kept while the graph is walked: the more, the nearer to exact. Of 40, the default, too few are found.
EF_SEARCH = 200
LEAST_PGVECTOR = (0, 8)  # the first that walks on until enough pass the filters
_MARGIN = 8  # more neighbours than asked for, since the server sees the query in half precision
_LOCK = 207537  # of whoever makes tables or graphs
_GRAPH_LIMIT = 4000  # features of a half vector in an HNSW graph

_TABLES = """
CREATE TABLE about (name text PRIMARY KEY, value text NOT NULL);
CREATE TABLE exams (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, content text NOT NULL UNIQUE, patient text, laterality text,
    visit_day integer, device text, scores text, location bytea, stamp text);
CREATE INDEX exams_location ON exams (location);
CREATE TABLE labels (
    exam bigint NOT NULL REFERENCES exams ON DELETE CASCADE, label text NOT NULL, PRIMARY KEY (exam, label));
CREATE INDEX labels_label ON labels (label, exam);
CREATE TABLE items (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, exam bigint NOT NULL REFERENCES exams ON DELETE CASCADE,
    modality text NOT NULL, embedding {vector} NOT NULL, checksum bigint NOT NULL, UNIQUE (exam, modality));
CREATE TABLE thumbnails (
    item bigint PRIMARY KEY REFERENCES items ON DELETE CASCADE, picture bytea NOT NULL);
CREATE TABLE changes (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, exam bigint NOT NULL);
"""


class PostgresDatabase(Database):
    """The tables of one schema, ``?schema=NAME`` in the URL, so that a server may hold an index for each model.

    Parameters
    ----------
    url : str
    create : bool
        Make the tables if there are none.
    ef_search : int
        Candidates kept while a graph is walked; more are slower and nearer to exact.

    Raises
    ------
    EmbeddingIndexError
        If the server cannot be reached, has no pgvector, or holds tables of a newer version.
    """

    def __init__(self, url: str, *, create: bool = True, ef_search: int = EF_SEARCH) -> None:
        super().__init__()
        address, self._schema = split_address(url)
        self.where = without_password(url, self._schema)
        self._ef_search = ef_search
        self._graphs: set[str] = set()
        with self.reading():
            self._connection = _connected(address)
            try:
                self._begin(create)
            except BaseException:
                self._connection.close()
                raise

    def add(self, exams: Sequence[IndexedExam], features: int) -> int:
        added = super().add(exams, features)
        for modality in {name for exam in exams for name in exam.embeddings} - self._graphs:
            self._make_graph(modality)
        return added

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Any:
        return self._connection.execute(sql.replace("?", "%s").encode(), values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self.lock, self.reading(), self._connection.transaction():
            # Writers one after another, as SQLite has it: two may bring the same exam.
            self.execute("LOCK TABLE about IN SHARE ROW EXCLUSIVE MODE")
            yield

    @contextmanager
    def reading(self) -> Iterator[None]:
        import psycopg

        try:
            yield
        except psycopg.Error as error:
            raise EmbeddingIndexError(postgres_sentence(self.where, error)) from error

    def encode(self, vector: NDArray[np.float32]) -> tuple[Any, int]:
        from pgvector import HalfVector

        # PostgreSQL has checksums of its own pages.
        return HalfVector(vector.astype(np.float16)), 0

    def nearest(
        self,
        vector: NDArray[np.float32],
        modality: str,
        k: int,
        filters: Filters,
        of: Identity | None,
    ) -> list[tuple[int, float]]:
        from psycopg import sql

        if k < 1:
            return []
        encoded, _ = self.encode(vector)
        others, values = conditions(filters, of)
        # The graph's condition as a literal: with a parameter it would not be known for that of the graph.
        statement = sql.SQL(
            "SELECT i.id, i.embedding FROM items i JOIN exams e ON e.id = i.exam"
            " WHERE i.modality = {modality} {others} ORDER BY i.embedding <=> %s LIMIT %s"
        ).format(modality=sql.Literal(modality), others=sql.SQL(others))
        wanted = (*values, encoded, k + _MARGIN)
        with self._connection.transaction():
            ef_search = max(self._ef_search, 2 * k)
            self.execute(f"SET LOCAL hnsw.ef_search = {min(ef_search, 1000)}")
            self.execute("SET LOCAL hnsw.iterative_scan = strict_order")
            found = self._connection.execute(statement, wanted).fetchall()
            if len(found) < k:
                # The walk ends after so many items (hnsw.max_scan_tuples), though more might pass the filters.
                self.execute("SET LOCAL enable_indexscan = off")
                found = self._connection.execute(statement, wanted).fetchall()
        if not found:
            return []
        # The server compares with the query in half precision.
        similarities = _lengths_one([embedding for _, embedding in found]) @ vector
        pairs = zip((item for item, _ in found), similarities.tolist(), strict=True)
        return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:k]

    def vectors(self, modality: str, most: int | None) -> tuple[list[int], NDArray[np.float32]]:
        (count,) = self.execute(
            "SELECT COUNT(*) FROM items WHERE modality = ?", (modality,)
        ).fetchone()
        step = 1 if most is None else max(1, -(-count // most))
        found = self.execute(
            "SELECT exam, embedding FROM (SELECT exam, embedding, row_number() OVER (ORDER BY id) AS n FROM items"
            " WHERE modality = ?) numbered WHERE mod(n, ?) = 0 ORDER BY n",
            (modality, step),
        ).fetchall()
        if not found:
            return [], np.empty((0, 0), np.float32)
        return [exam for exam, _ in found], _lengths_one([embedding for _, embedding in found])

    def check(self) -> None:
        """Read everything once: PostgreSQL refuses pages whose checksum is wrong, where the server has them on."""
        with self.reading():
            self.execute("SELECT COUNT(embedding), SUM(checksum) FROM items").fetchall()
            self.execute("SELECT SUM(length(picture)) FROM thumbnails").fetchall()

    def _make_graph(self, modality: str) -> None:
        """Make the graph of a modality, unless there is one; after the first items, which is quicker than before."""
        from psycopg import sql

        name = f"items_{modality.lower()}_hnsw"
        there = "SELECT 1 FROM pg_indexes WHERE schemaname = ? AND indexname = ?"
        with self.lock, self.reading(), self._connection.transaction():
            # Asked first, as CREATE INDEX waits for writers and is for the owner of the tables, even to do nothing.
            if self.execute(there, (self._schema, name)).fetchone() is not None:
                self._graphs.add(modality)
                return
            self._connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
            self._connection.execute(
                sql.SQL(
                    "CREATE INDEX IF NOT EXISTS {} ON items USING hnsw (embedding halfvec_cosine_ops)"
                    " WHERE modality = {}"
                ).format(sql.Identifier(name), sql.Literal(modality))
            )
        self._graphs.add(modality)

    def set_features(self, features: int) -> None:
        """Say how long the vectors are, which the graphs need, and make the graphs' table accordingly."""
        if features > _GRAPH_LIMIT:
            raise InputError(
                f"pgvector finds vectors of at most {_GRAPH_LIMIT} numbers; these have {features}."
            )
        self.execute(f"ALTER TABLE items ALTER COLUMN embedding TYPE halfvec({int(features)})")

    def close(self) -> None:
        self._connection.close()

    def _begin(self, create: bool) -> None:
        from pgvector.psycopg import register_vector
        from psycopg import sql

        schema = sql.Identifier(self._schema)
        with self._connection.transaction():
            # One at a time: CREATE ... IF NOT EXISTS of two processes can collide.
            self._connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
            if not self._exists():
                if not create:
                    raise EmbeddingIndexError(
                        f"There is no index {self.where}; octcube index DIR --db URL makes one."
                    )
                self._connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
                self._connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
                self._use_schema(schema)
                self._connection.execute(_TABLES.format(vector="halfvec").encode())
                self.state({"version": str(VERSION)})
            self._use_schema(schema)
        register_vector(self._connection)
        if int(self.about().get("version", VERSION)) > VERSION:
            raise EmbeddingIndexError(newer(self.where))

    def _exists(self) -> bool:
        sql = "SELECT 1 FROM information_schema.tables WHERE table_schema = ? AND table_name = 'about'"
        return self.execute(sql, (self._schema,)).fetchone() is not None

    def _use_schema(self, schema: Any) -> None:
        from psycopg import sql

        found = self._connection.execute(
            "SELECT n.nspname, e.extversion FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace"
            " WHERE e.extname = 'vector'"
        ).fetchone()
        place, version = found or ("public", "0.8")
        if tuple(map(int, version.split(".")[:2])) < LEAST_PGVECTOR:
            raise EmbeddingIndexError(
                f"The server of {self.where} has pgvector {version}; ask its administrator for 0.8 or newer."
            )
        pgvector = sql.Identifier(place)
        self._connection.execute(sql.SQL("SET search_path TO {}, {}").format(schema, pgvector))


def _connected(address: str) -> psycopg.Connection[Any]:
    try:
        import pgvector  # noqa: F401
        import psycopg
    except ImportError:
        raise InputError(
            "An index in PostgreSQL needs psycopg and pgvector; install napari-octcube[server]."
        ) from None
    try:
        connection = psycopg.connect(address, autocommit=True, connect_timeout=PATIENCE_S)
    except (psycopg.ProgrammingError, UnicodeError):
        # What libpq says of it may repeat the password.
        raise EmbeddingIndexError(NO_ADDRESS) from None
    with suppress(psycopg.Error):
        connection.execute(f"SET lock_timeout = '{PATIENCE_S}s'")
    return connection


def _lengths_one(embeddings: Sequence[Any]) -> NDArray[np.float32]:
    """Half vectors as float32; half precision moved their lengths away from 1."""
    vectors: NDArray[np.float32] = np.stack([each.to_numpy() for each in embeddings]).astype(
        np.float32
    )
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors
