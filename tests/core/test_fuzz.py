"""Damaged files of every format are opened or refused in one sentence, and the fuzzer can tell if not."""

from __future__ import annotations

import pytest

from tests.fuzz import case as cases
from tests.fuzz import corpus, pool, run

COUNT = 200
_TRUNCATION = ("npy", 11)
FAULTS = {
    "raises": "other exception",
    "two_sentences": "not one sentence",
    "two_lines": "message not printable",
    "class_name": "class name",
    "names_no_file": "message without a file",
    "leaks_in_error": "identity",
    "leaks_in_warning": "identity",
    "leaks_in_log": "identity",
    "prints": "output",
    "logs_a_warning": "output",
    "hangs": "hang",
    "dies": "crash",
    "takes_memory": "memory",
    "zeros_for_missing_data": "half-read volume",
    "fills_up": "blank B-scan",
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return run.prepare(tmp_path_factory.mktemp("fuzz"))


def test_every_format_has_files_that_open_undamaged(prepared):
    for library in ("h5py", "nibabel", "SimpleITK"):
        pytest.importorskip(library, reason="needs the extra 'formats'")
    samples, _, _ = prepared
    opens = {sample.format for sample in samples if sample.exams}
    assert set(corpus.MODULES) - opens == set()


def test_damaged_files_are_opened_or_refused_in_one_sentence(prepared):
    samples, listing, _ = prepared
    formats = sorted({sample.format for sample in samples})
    verdicts = pool.run(listing, run.plan(formats, COUNT, first_seed=100_000))
    bad = [verdict for verdict in verdicts if verdict.problems]
    assert not bad, f"\n{run.table(verdicts)}\n{run.violations(bad)}"
    assert len(verdicts) == COUNT
    outcomes = {verdict.outcome for verdict in verdicts}
    assert {"opened", "refused"} <= outcomes


@pytest.mark.parametrize(("reader", "kind"), FAULTS.items())
def test_a_fault_is_reported(prepared, reader, kind):
    _samples, listing, _ = prepared
    verdicts = pool.run(
        listing,
        [_TRUNCATION],
        reader=f"tests.fuzz.bad_readers:{reader}",
        seconds=1.0 if reader == "hangs" else 60.0,
        workers=1,
    )
    assert kind in {found for verdict in verdicts for found, _ in verdict.problems}


def test_a_faultless_refusal_is_no_violation_and_a_hang_stops_nothing(prepared):
    _samples, listing, _ = prepared
    planned = [("npy", 0), ("npy", 1)]
    good = pool.run(listing, planned, reader="tests.fuzz.bad_readers:good", workers=1)
    assert [(verdict.outcome, verdict.problems) for verdict in good] == [("refused", ())] * 2
    hanging = pool.run(
        listing, planned, reader="tests.fuzz.bad_readers:hangs", seconds=0.5, workers=1
    )
    assert [verdict.outcome for verdict in hanging] == ["lost", "lost"]


def test_the_damage_of_the_tests_above_is_a_cut(prepared, tmp_path):
    samples, _, _ = prepared
    assert cases.make(samples, *_TRUNCATION, tmp_path).truncated


def test_the_same_seed_gives_the_same_damage(prepared, tmp_path):
    samples, _, _ = prepared
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        cases.make(samples, "dicom", 5, tmp_path / name)
    first, second = (
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (tmp_path / "first", tmp_path / "second")
    )
    assert first == second
    assert first


def test_violations_end_the_command_with_1_and_how_to_repeat_them(monkeypatch, capsys, tmp_path):
    judge = pool.run

    def with_a_bad_reader(*arguments, **named):
        return judge(*arguments, **named, reader="tests.fuzz.bad_readers:raises")

    monkeypatch.setattr(pool, "run", with_a_bad_reader)
    kept = tmp_path / "kept"
    command = ["--format", "npy", "--seed", "3", "--workers", "1", "--keep", str(kept)]
    assert run.main(command) == 1
    printed = capsys.readouterr().out
    assert "python -m tests.fuzz --format npy --seed 3" in printed
    assert "TypeError" in printed
    assert list((kept / "npy-3").rglob("*.np*"))
