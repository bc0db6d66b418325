"""Two eyes and their scores next to each other."""

from dataclasses import replace

import pytest
from archives import eye
from fakes import make_analysis, make_exam

from napari_octcube._comparison import Comparison
from napari_octcube._inference import InferenceClient
from octcube_core.writers import write_exam


@pytest.fixture
def comparison(session, owner, fake_worker):
    client = InferenceClient(session, owner, fake_worker)
    comparison = Comparison(session, client)
    yield comparison
    comparison.close()
    client.close()


def analysed(session, exam):
    session.show_exam(exam)
    session.finish(exam, make_analysis(exam))


def test_the_eye_beside_is_analysed_once_both_are_there(session, comparison, owner):
    other = make_exam(bright=(3, 3, 3))
    session.show_exam(make_exam())
    comparison.show(other)
    assert "Run the eye in view" in comparison.state.note
    session.finish(session.exam, make_analysis(session.exam))
    owner.run_until(lambda: comparison.state.analysis is not None)
    assert comparison.state.note == ""
    assert comparison.state.analysis.targets == session.analysis.targets
    assert session.analysis is not comparison.state.analysis


def test_another_eye_or_none_takes_the_scores_away(session, comparison, owner):
    analysed(session, make_exam())
    comparison.show(make_exam(bright=(3, 3, 3)))
    owner.run_until(lambda: comparison.state.analysis is not None)
    comparison.show(make_exam(bright=(4, 4, 4)))
    assert comparison.state.analysis is None
    owner.run_until(lambda: comparison.state.analysis is not None)
    comparison.show(None)
    assert comparison.state.analysis is None
    assert comparison.state.note == ""


def test_an_answer_for_an_eye_that_left_is_dropped(session, comparison, owner):
    analysed(session, make_exam())
    comparison.show(make_exam(bright=(3, 3, 3)))
    comparison.show(None)
    answered = []
    comparison._client.ask(lambda job: _embed(job), answered.append)  # answered after the first
    owner.run_until(lambda: answered)
    assert comparison.state.analysis is None


def _embed(job):
    from octcube_core.worker_protocol import Embed

    return Embed(job, replace(make_exam(), enface=()), "demo")


def test_what_fails_is_one_sentence(session, comparison, owner):
    session.model = "missing"
    analysed(session, make_exam())
    comparison.show(make_exam(bright=(3, 3, 3)))
    owner.run_until(lambda: "There is no model" in comparison.state.note)
    assert comparison.state.analysis is None


@pytest.mark.xvfb
def test_an_exam_is_opened_beside_and_compared(open_dock, qtbot, tmp_path):
    viewer, dock = open_dock(show=True)
    viewer.window.resize(1366, 768)
    table = dock.comparison_table
    dock.scene.add_exam(eye(95))
    dock.client.submit()
    qtbot.waitUntil(lambda: dock.session.analysis is not None, timeout=20_000)
    assert not table.isVisible()
    write_exam(eye(200, laterality="OS"), tmp_path / "other", "dicom")
    dock.open_beside(tmp_path / "other")
    qtbot.waitUntil(lambda: dock.comparison.state.analysis is not None, timeout=20_000)
    qtbot.wait(300)
    assert table.table.isVisible()
    header = [table.table.horizontalHeaderItem(n).text() for n in range(4)]
    assert header == ["", "In view (OD)", "Beside (OS)", "Difference"]
    assert [table.table.item(0, n).text() for n in range(4)] == ["DME", "0.91", "0.91", "0.00"]
    assert table.table.item(0, 1).font().bold()
    assert not table.table.item(1, 1).font().bold()
    pixels = viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)
    middle = pixels.shape[1] // 2
    rows = slice(pixels.shape[0] // 3, -pixels.shape[0] // 3)
    assert pixels[rows, middle:].max() == pytest.approx(203, abs=8)
    dock.beside.leave()
    assert not table.isVisible()


@pytest.mark.xvfb
def test_a_file_that_is_no_exam_is_said_and_nothing_leaves(open_dock, qtbot, tmp_path):
    viewer, dock = open_dock(show=True)
    dock.scene.add_exam(eye(95))
    (tmp_path / "text.dcm").write_text("no exam")
    dock.open_beside(tmp_path / "text.dcm")
    qtbot.waitUntil(lambda: bool(dock.session.error), timeout=20_000)
    assert "text.dcm" in dock.session.error
    assert dock.beside.layer is None
    assert len(viewer.layers) == 1


@pytest.mark.xvfb
def test_without_an_exam_in_view_it_opens_as_usual(open_dock, qtbot, tmp_path):
    _, dock = open_dock(show=True)
    write_exam(eye(95), tmp_path / "one", "dicom")
    dock.open_beside(tmp_path / "one")
    qtbot.waitUntil(lambda: dock.session.exam is not None, timeout=20_000)
    assert dock.beside.layer is None
