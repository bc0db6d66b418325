"""What can go wrong with a PostgreSQL server, and that its graph finds what brute force finds."""

from __future__ import annotations

import socket

import numpy as np
import psycopg
import pytest
from index_records import (
    FEATURES,
    MODEL,
    assert_same,
    brute_force,
    contents,
    filled,
    found_by,
    records,
)

from octcube_core.errors import EmbeddingIndexError, InputError
from octcube_core.results import ModelIdentity
from octcube_core.retrieval import EmbeddingIndex, Filters
from octcube_core.retrieval.postgres_address import split_address, without_password


def refusal(url: str) -> str:
    with pytest.raises(EmbeddingIndexError) as caught:
        EmbeddingIndex(url)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    assert "hunter2" not in text
    return text


def test_no_server_there(configuration):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # nobody listens
        port = held.getsockname()[1]
        text = refusal(f"postgresql://me:hunter2@127.0.0.1:{port}/eyes")
    assert text.startswith(f"The index postgresql://127.0.0.1:{port}/eyes cannot be reached")
    assert not configuration.exists()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hunter2%zz@127.0.0.1/eyes",
        "postgresql://me:hunter2@[127.0.0.1/eyes",
        "postgresql://me:hunter2@127.0.0.1/eyes?nonsense=1",
        "postgresql://me:hunter2/x@127.0.0.1:1/eyes",
    ],
)
def test_an_address_that_is_none_never_shows_the_password(url, configuration):
    refusal(url)


def test_a_wrong_database_or_user(postgres_server, configuration):
    text = refusal(postgres_server.replace("/postgres?", "/nowhere?"))
    assert 'database "nowhere" does not exist' in text
    assert '"nobody" does not exist' in refusal(
        postgres_server.replace("postgres:@", "nobody:hunter2@")
    )


def test_addresses():
    url = "postgresql://me:p%40ss@host:5433/eyes?schema=ir&options=-c%20statement_timeout%3D5"
    address, schema = split_address(url)
    assert schema == "ir"
    assert address == "postgresql://me:p%40ss@host:5433/eyes?options=-c%20statement_timeout%3D5"
    assert without_password(url, schema) == "postgresql://host:5433/eyes?schema=ir"
    assert split_address("postgres://host/eyes") == ("postgres://host/eyes", "octcube")


def test_there_is_none_or_it_is_not_ours(postgres_url):
    with pytest.raises(EmbeddingIndexError, match="There is no index"):
        EmbeddingIndex(postgres_url, create=False)
    address, schema = split_address(postgres_url)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
        connection.execute(f"CREATE TABLE {schema}.about (something int)")
    assert schema in refusal(postgres_url)


def test_a_newer_version(postgres_url):
    EmbeddingIndex(postgres_url).close()
    address, schema = split_address(postgres_url)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"UPDATE {schema}.about SET value = '2' WHERE name = 'version'")
    assert "newer version" in refusal(postgres_url)


def test_a_server_that_ends_the_connection_loses_nothing(postgres_url):
    held = records(10)
    with EmbeddingIndex(postgres_url) as index:
        index.add_records(held, MODEL)
        (own,) = index._database.execute("SELECT pg_backend_pid()").fetchone()
        with psycopg.connect(split_address(postgres_url)[0], autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (own,))
        for use in (lambda: index.search(held[0].embeddings["OCT"]), index.counts):
            with pytest.raises(EmbeddingIndexError) as caught:
                use()
            assert "\n" not in str(caught.value)
    with EmbeddingIndex(postgres_url) as index:
        assert contents(index) == {each.identity.content for each in held}


def test_locked_by_another(postgres_url):
    with EmbeddingIndex(postgres_url) as index:
        index.add_records(records(3), MODEL)
        index._database.execute("SET lock_timeout = '200ms'")
        address, schema = split_address(postgres_url)
        with psycopg.connect(address) as other:
            other.execute(f"LOCK TABLE {schema}.about IN EXCLUSIVE MODE")
            with pytest.raises(EmbeddingIndexError, match="locked"):
                index.add_records(records(2, seed=1), MODEL)
            assert len(index) == 3
        assert index.add_records(records(2, seed=1), MODEL) == 2


def test_who_may_only_read_can_search(postgres_url, postgres_server):
    held = records(10)
    with EmbeddingIndex(postgres_url) as index:
        index.add_records(held, MODEL)
    address, schema = split_address(postgres_url)
    reader = f"reader_{schema}"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {reader} LOGIN")
        connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO {reader}")
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {reader}")
    with EmbeddingIndex(postgres_url.replace("postgres:@", f"{reader}:@")) as index:
        assert index.search(held[2].embeddings["OCT"], k=1)[0].identity.content == "c0-2"
        with pytest.raises(EmbeddingIndexError, match="You may not"):
            index.remove([1])


def test_who_does_not_own_the_tables_can_add(postgres_url):
    with EmbeddingIndex(postgres_url) as index:
        index.add_records(records(10), MODEL)
    address, schema = split_address(postgres_url)
    writer = f"writer_{schema}"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {writer} LOGIN")
        connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO {writer}")
        connection.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {writer}")
    with EmbeddingIndex(postgres_url.replace("postgres:@", f"{writer}:@")) as index:
        assert index.add_records(records(5, seed=1), MODEL) == 5


def test_embeddings_too_long_for_the_graph_bind_it_to_no_model(postgres_url):
    long = ModelIdentity("Long", "1" * 16, 4001)
    with EmbeddingIndex(postgres_url) as index:
        with pytest.raises(InputError, match="at most 4000"):
            index.add_records(records(1, features=4001), long)
        assert index.model is None
        assert index.add_records(records(5), MODEL) == 5


def test_the_graph_finds_what_brute_force_finds_and_what_sqlite_finds(postgres_url, tmp_path):
    held = records(3000, seed=2)
    path = tmp_path / "eyes.octindex"
    assert len(filled(path, 3000, seed=2)) == 3000
    queries = np.random.default_rng(5).standard_normal((12, FEATURES))
    hits = total = 0
    with EmbeddingIndex(postgres_url) as graph, EmbeddingIndex(path) as exact:
        graph.add_records(held, MODEL)
        graph._database.execute("ANALYZE items")
        graph._database.execute("SET enable_seqscan = off")
        graph._database.execute("SET enable_sort = off")
        of = held[1].identity
        for query in queries:
            # The rarest pass the filters three times in a thousand.
            for filters in (
                Filters(),
                Filters("OD", "device 1", "DME", "eye"),
                Filters(label="AMD"),
            ):
                wanted = brute_force(held, query, "IR", 10, filters, of)
                assert_same(found_by(exact, query, "IR", 10, filters, of), wanted)
                found = found_by(graph, query, "IR", 10, filters, of)
                assert len(found) == len(wanted)
                hits += len(dict(found).keys() & dict(wanted).keys())
                total += len(wanted)
                similarities = dict(wanted)
                for content, similarity in found:
                    if content in similarities:
                        assert similarity == pytest.approx(similarities[content], abs=1e-5)
    assert hits / total >= 0.98


def test_where_the_walk_through_the_graph_gives_up_all_are_still_found(postgres_url):
    held = records(500, seed=3)
    with EmbeddingIndex(postgres_url) as index:
        index.add_records(held, MODEL)
        index._database.execute("ANALYZE items")
        for setting in ("enable_seqscan = off", "enable_sort = off", "hnsw.max_scan_tuples = 1"):
            index._database.execute(f"SET {setting}")
        index._database._ef_search = 10
        query = -held[0].embeddings["OCT"]
        filters = Filters(device="device 1", label="DME")
        wanted = brute_force(held, query, "OCT", 40, filters, None)
        assert len(wanted) == 40
        found = found_by(index, query, "OCT", 40, filters, None)
    assert_same(found, wanted)
