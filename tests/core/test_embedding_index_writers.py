"""Several processes write to one index at once, some are killed: what was reported as added is there, whole."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from index_records import MODEL, contents, records

from octcube_core.retrieval import EmbeddingIndex

BATCH, WRITERS, SECONDS = 5, 4, 3.0

_WRITER = """
import sys
from index_records import MODEL, records
from octcube_core.retrieval import EmbeddingIndex
address, number, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
held = records(400 * batch, seed=number)
with EmbeddingIndex(address) as index:
    print("id", index.salt_file.stem, flush=True)
    for first in range(0, len(held), batch):
        added = index.add_records(held[first : first + batch], MODEL)
        print("added", first // batch, added, flush=True)
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request, tmp_path, configuration) -> str:
    if request.param == "postgresql":
        return request.getfixturevalue("postgres_url")
    return str(tmp_path / "eyes.octindex")


def start_writers(address: str, numbers: range) -> list[subprocess.Popen]:
    """Processes that are ready, and begin together to make one new index and to write to it."""
    places = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    running = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER, address, str(number), str(BATCH)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": places},
        )
        for number in numbers
    ]
    for process in running:
        assert process.stdout.readline() == "ready\n"
    for process in running:
        process.stdin.write("\n")
        process.stdin.flush()
    return running


def test_writers_killed_at_random_lose_nothing_that_was_reported(address, configuration):
    chance = random.Random(os.getpid())
    running = start_writers(address, range(100, 100 + WRITERS))
    deadline = time.monotonic() + SECONDS
    killed = running[::2]
    for process in killed:
        time.sleep(chance.uniform(0.4, 0.8))
        process.send_signal(signal.SIGKILL)
    time.sleep(max(0, deadline - time.monotonic()))
    for process in running:
        process.terminate()
    ids, reported = set(), {}
    for number, process in enumerate(running, start=100):
        told, failed = process.communicate(timeout=60)
        assert "Error" not in failed
        lines = [line.split() for line in told.splitlines(keepends=True) if line.endswith("\n")]
        ids |= {line[1] for line in lines if line[0] == "id"}
        batches = [line[1:] for line in lines if line[0] == "added"]
        assert all(added == str(BATCH) for _, added in batches)
        reported[number] = len(batches)
    assert len(ids) == 1  # one index was made, with one salt
    assert sum(reported.values()) > 2 * WRITERS
    assert (configuration / "salts" / f"{ids.pop()}.txt").is_file()
    with EmbeddingIndex(address) as index:
        index.check()
        held = contents(index)
        rows = index.counts()
        for number, count in reported.items():
            made = [each.identity.content for each in records(400 * BATCH, seed=number)]
            there = [content in held for content in made]
            batches = [there[first : first + BATCH] for first in range(0, len(there), BATCH)]
            assert all(len(set(batch)) == 1 for batch in batches)  # whole, or not at all
            # One more may have been written before its writer could say so.
            assert count <= sum(batch[0] for batch in batches) <= count + 1
            assert all(batch[0] for batch in batches[:count])
        assert rows["OCT"] == rows["exams"] == len(held)
        vectors = index.vectors("OCT")[1]
        assert len(vectors) == len(held)
        # It goes on.
        assert index.add_records(records(3, seed=1), MODEL) == 3


def test_many_make_one_new_index_at_once(address, configuration):
    for process in (running := start_writers(address, range(200, 206))):
        assert process.stdout.readline().startswith("id "), process.communicate()[1]
    for process in running:
        process.kill()
        process.communicate(timeout=60)
    assert len(list((configuration / "salts").glob("*.txt"))) == 1
    with EmbeddingIndex(address) as index:
        index.check()
        assert index.secret is not None
