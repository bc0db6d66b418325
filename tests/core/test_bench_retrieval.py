"""``octcube bench --retrieval``: figures of small archives are sane, and nothing is left behind."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

import octcube_core.bench.retrieval as bench
from octcube_core.bench.retrieval import archive, room
from octcube_core.bench.retrieval.archive import Archive, identity
from octcube_core.bench.retrieval.postgres import _exact, _stored
from octcube_core.bench.setup import Figure
from octcube_core.cli import main
from octcube_core.errors import InputError
from octcube_core.retrieval.records import Filters


@pytest.fixture
def configuration(tmp_path, monkeypatch):
    """The user's, into which nothing may be written."""
    monkeypatch.setenv("OCTCUBE_CONFIG", str(tmp_path))
    return tmp_path


def test_a_small_archive_is_filled_opened_and_searched(configuration) -> None:
    stages: list[tuple[str, float]] = []
    report = bench.measure([300], on_progress=lambda *stage: stages.append(stage))
    json.dumps(report, allow_nan=False)
    figures = {figure["name"]: figure for figure in report["figures"]}
    assert {figure["part"] for figure in report["figures"]} == {"300 items"}
    assert figures["insertion in batches of 8"]["value"] > 10
    assert 0 < figures["opening"]["value"] < 10
    for case in ("no filter", "laterality, device, label, not the same patient"):
        assert figures[f"search / bare product, {case}"]["value"] > 0.1
        assert 0 < figures[f"search, {case}"]["value"] < 1000
    # Nothing is promised of so few.
    assert {figure["ok"] for figure in report["figures"]} == {None}
    assert "no server" in report["parts"]["PostgreSQL"]["skipped"]
    assert stages == [("Measuring 300 items in SQLite", 0.0)]
    assert os.environ["OCTCUBE_CONFIG"] == str(configuration)
    assert list(configuration.iterdir()) == []


def test_too_few_items_are_refused_and_too_many_skipped(monkeypatch) -> None:
    with pytest.raises(InputError, match="at least 100"):
        bench.measure([99])
    monkeypatch.setattr(room, "available_memory", lambda: 10**5)
    report = bench.measure([500])
    assert report["figures"] == []
    assert "GB of memory" in report["parts"]["500 items"]["skipped"]


def test_the_archive_is_the_same_every_time_and_patients_are_near_themselves(monkeypatch) -> None:
    monkeypatch.setattr(archive, "BLOCK", 60)
    eyes = Archive(100, "eye-like")
    blocks = [vectors for _, vectors in eyes.blocks()]
    assert [len(block) for block in blocks] == [60, 40]
    assert all(np.array_equal(a, b) for a, (_, b) in zip(blocks, eyes.blocks(), strict=True))
    vectors = _stored(eyes)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -1)
    nearest = similarity.argmax(axis=1)
    same = [identity(i).patient == identity(int(n)).patient for i, n in enumerate(nearest)]
    assert np.mean(same) > 0.9
    assert len({identity(i).content for i in range(100)}) == 100
    (record, *_) = eyes.records(60, blocks[1])
    assert record.identity == identity(60)


def test_the_exact_neighbours_pass_the_filters() -> None:
    vectors = _stored(Archive(120, "gaussian"))
    best = _exact(vectors, 7, Filters(laterality="OD", leave_out="patient"))
    order = np.argsort(-(vectors @ vectors[7])).tolist()
    others = [n for n in order if n % 2 == 0 and n // 6 != 1]
    assert best == set(others[:10])
    assert 7 not in _exact(vectors, 7, Filters(leave_out="exam"))


def test_the_table_says_what_misses_its_goal(monkeypatch, capsys) -> None:
    asked: list[object] = []

    def measured(items: object, **others: object) -> dict[str, object]:
        others.pop("on_progress")
        asked.append((items, others))
        figure = Figure("opening", 1.5, "s", 1.0).to_dict()
        return {
            "features": 512,
            "cores": 2,
            "figures": [{"part": "7 items", **figure}],
            "parts": {"PostgreSQL": {"skipped": "no server"}},
        }

    monkeypatch.setattr(bench, "measure", measured)
    assert main(["bench", "--retrieval", "--items", "100", "200", "--postgres", "postgresql:"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert asked == [([100, 200], {"postgres_url": "postgresql:"})]
    assert " ".join(printed[-2].split()) == "7 items: opening 1.5 s at most 1 NO"
    assert printed[-1] == "PostgreSQL: skipped, no server"
    assert main(["bench", "--items", "100"]) != 0
    assert "--retrieval" in capsys.readouterr().err
