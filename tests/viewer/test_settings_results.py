"""How what is set in napari's Preferences decides on the results that are kept."""

import os

import pytest
from fakes import make_analysis, make_exam

from napari_octcube._recall import Recall
from octcube_core.result_cache import ResultCache


@pytest.fixture
def recall(session, owner, settings, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_octcube._recall.SETTLE_S", 0.05)
    recall = Recall(session, owner, ResultCache(tmp_path / "results"), settings)
    yield recall
    recall.close()


def keep(session, recall, owner, exam):
    """Analyse an exam and wait until its result is kept."""
    before = len(list(recall.cache.folder.glob("*.npz")))
    session.show_exam(exam)
    session.begin(exam)
    session.finish(exam, make_analysis(exam))
    owner.run_until_true(lambda: len(list(recall.cache.folder.glob("*.npz"))) > before)


def test_a_result_of_another_precision_is_not_shown_as_this_one_s(
    session, owner, recall, preferences
):
    keep(session, recall, owner, make_exam())
    preferences.model.precision = "fp16"
    session.show_exam(make_exam())
    owner.run_for(0.4)
    assert session.analysis is None
    preferences.model.precision = "auto"  # and back: it is there without a run
    owner.run_until(lambda: session.analysis is not None)


def test_a_run_that_ends_after_a_change_is_kept_as_what_it_was(session, owner, recall, preferences):
    exam = make_exam()
    session.show_exam(exam)
    preferences.model.precision = "bf16"
    session.begin(exam)
    preferences.model.precision = "fp16"
    session.finish(exam, make_analysis(exam))
    owner.run_until_true(lambda: list(recall.cache.folder.glob("*.npz")))
    session.show_exam(make_exam())
    for other in ("fp16", "auto"):
        preferences.model.precision = other
        owner.run_for(0.4)
        assert session.analysis is None
    preferences.model.precision = "bf16"
    owner.run_until(lambda: session.analysis is not None)


def test_a_smaller_cache_forgets_the_oldest_at_once(session, owner, recall, preferences):
    for number in range(3):
        keep(session, recall, owner, make_exam(bright=(number, 3, 3)))
    paths = sorted(recall.cache.folder.glob("*.npz"), key=lambda path: path.stat().st_mtime)
    for age, path in enumerate(reversed(paths)):
        path.write_bytes(bytes(60_000_000))
        os.utime(path, (1e9 - age, 1e9 - age))
    preferences.results.megabytes = 100
    owner.run_until_true(lambda: recall.cache.size <= 100_000_000)
    assert [path.exists() for path in paths] == [False, False, True]


def test_sizes_that_are_passed_over_in_the_list_cost_nothing(
    session, owner, recall, preferences, monkeypatch
):
    monkeypatch.setattr("napari_octcube._recall.SETTLE_S", 0.5)
    keep(session, recall, owner, make_exam())
    preferences.results.megabytes = 0
    preferences.results.megabytes = 500
    owner.run_for(1.0)
    assert recall.cache.size > 0
    assert recall.cache.most_bytes == 500_000_000


def test_none_is_kept_with_a_size_of_none(session, owner, recall, preferences):
    keep(session, recall, owner, make_exam())
    preferences.results.megabytes = 0
    owner.run_until_true(lambda: recall.cache.size == 0)
    exam = make_exam(bright=(4, 4, 4))
    session.show_exam(exam)
    session.begin(exam)
    session.finish(exam, make_analysis(exam))
    owner.run_for(0.4)
    assert not list(recall.cache.folder.glob("*.npz"))


def test_forget_all_forgets_all_and_tells_its_size(session, owner, recall):
    sizes = []
    keep(session, recall, owner, make_exam())
    recall.measure(sizes.append)
    owner.run_until(lambda: sizes)
    assert sizes == [recall.cache.size]
    assert sizes[0] > 0
    recall.forget_all()
    owner.run_until_true(lambda: recall.cache.size == 0)
    assert session.analysis is not None  # what is in view stays
