import time

import numpy as np
import pytest
from fakes import make_analysis, make_exam

from napari_octcube._recall import RECALLED, Recall
from octcube_core.result_cache import ResultCache


@pytest.fixture
def recall(session, owner, tmp_path):
    recall = Recall(session, owner, ResultCache(tmp_path / "results"))
    yield recall
    recall.close()


def run(session, exam):
    session.begin(exam)
    session.finish(exam, make_analysis(exam))


def kept(recall, owner, count=1):
    """Wait until so many results are kept; a thread of its own writes them."""
    end = time.monotonic() + 20
    while len(list(recall.cache.folder.glob("*.npz"))) != count:
        assert time.monotonic() < end
        owner.run_pending()
        time.sleep(0.01)


def test_a_reopened_exam_shows_its_result_at_once(session, owner, recall):
    session.device = "Fake GPU"
    session.show_exam(make_exam())
    run(session, session.exam)
    result = session.analysis
    kept(recall, owner)
    session.show_exam(make_exam(bright=(3, 3, 3)))  # another eye
    session.show_exam(make_exam())  # the same, read again
    assert session.analysis is None
    owner.run_until(lambda: session.analysis is not None)
    assert session.stage == RECALLED
    assert session.analysis.scores == result.scores
    assert session.disease == result.top_target
    np.testing.assert_array_equal(session.analysis.saliency, result.saliency)
    # and it is not kept once more
    owner.run_pending()
    kept(recall, owner)


def test_another_exam_or_model_has_none(session, owner, recall, tmp_path):
    session.show_exam(make_exam())
    run(session, session.exam)
    kept(recall, owner)
    session.show_exam(make_exam(bright=(3, 3, 3)))
    model = tmp_path / "other.safetensors"
    model.write_bytes(b"other weights")
    session.model = str(model)
    session.show_exam(make_exam())
    run(session, session.exam)  # its own result is kept beside the first
    kept(recall, owner, 2)


def test_a_result_that_comes_late_does_not_replace_a_run(session, owner, recall):
    session.show_exam(make_exam())
    run(session, session.exam)
    kept(recall, owner)
    session.show_exam(None)
    exam = make_exam()
    session.show_exam(exam)
    session.begin(exam)  # before the cache has answered
    time.sleep(0.5)
    owner.run_pending()
    assert session.analysis is None
    assert session.running is exam


def test_a_model_that_is_not_here_is_no_error(session, owner, recall):
    session.model = "/nowhere/model.safetensors"
    session.show_exam(make_exam())
    run(session, session.exam)
    time.sleep(0.3)
    owner.run_pending()
    assert not session.error
    assert not recall.cache.folder.exists()
