import pytest
from fakes import make_analysis, make_exam

from napari_octcube._widgets import run_bar
from napari_octcube._widgets.run_bar import RunBar


@pytest.fixture
def bar(session, qtbot):
    bar = RunBar(session, lambda: None, lambda: None)
    qtbot.addWidget(bar)
    return bar


def test_the_device_s_tip_tells_how_the_result_in_view_was_made(bar, session):
    exam = make_exam()
    session.show_exam(exam)
    assert bar.device_label.toolTip() == "What the next run uses"
    session.finish(exam, make_analysis(exam))
    assert bar.device_label.toolTip() == "What the next run uses; this result: Fake GPU, fp32"


def test_the_time_left_is_shown_while_it_runs_and_gone_afterwards(bar, session, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(run_bar.time, "monotonic", lambda: clock[0])
    exam = make_exam()
    session.show_exam(exam)
    session.begin(exam)
    shown = []
    for step in range(1, 11):
        clock[0] += 2.0
        session.progress("Running the network", step / 20)
        shown.append(bar.time_label.text())
    assert shown[0] == shown[1] == ""
    assert shown[-1] == "about 20 s left"
    session.finish(exam, make_analysis(exam))
    assert bar.time_label.text() == ""
    session.begin(exam)  # another run begins without the pace of the last
    session.progress("Running the network", 0.9)
    assert bar.time_label.text() == ""
