import numpy as np
import pytest
from fakes import make_exam

from napari_octcube._exam_place import ExamPlace
from napari_octcube._recent import RecentExams
from napari_octcube._widgets.recent_menu import RecentMenu

pytestmark = pytest.mark.xvfb


def eye(path):
    np.save(path, np.zeros((3, 32, 32), np.uint8))
    return path


def texts(menu):
    return [action.text() for action in menu.actions() if not action.isSeparator()]


def menu_of(dock):
    return dock.open_button.findChild(RecentMenu)


def item(menu, text):
    return next(action for action in menu.actions() if text in action.text())


def test_an_empty_list_says_so(owner, qtbot):
    menu = RecentMenu(RecentExams(owner), lambda exam: None)
    qtbot.addWidget(menu)
    assert texts(menu) == ["None yet"]
    assert not menu.actions()[0].isEnabled()


def test_items_tips_and_those_that_are_gone(owner, qtbot, tmp_path):
    recent, opened = RecentExams(owner), []
    menu = RecentMenu(recent, opened.append)
    qtbot.addWidget(menu)
    for path in (tmp_path / "gone & lost.npy", eye(tmp_path / "here.npy")):
        recent.add(ExamPlace.numbered(path), make_exam())
        owner.run_until(lambda path=path: recent.exams and path.name in recent.exams[0].words)
    owner.run_until(lambda: recent.gone)
    assert texts(menu) == [
        "&1  OD · OCT, IR · Test device · here.npy",
        "&2  OD · OCT, IR · Test device · gone && lost.npy (gone)",
        "Forget these",
    ]
    here, gone = menu.actions()[:2]
    assert (here.isEnabled(), gone.isEnabled()) == (True, False)
    assert here.toolTip() == str(tmp_path / "here.npy")
    assert "Nothing lies there" in gone.toolTip()
    here.trigger()
    assert opened == [recent.exams[0]]


def test_a_recent_exam_opens_again_in_the_dock(open_dock, qtbot, tmp_path):
    viewer, dock = open_dock()
    menu = menu_of(dock)
    dock.open_path(eye(tmp_path / "eye.npy"))
    qtbot.waitUntil(lambda: "eye.npy" in texts(menu)[0])
    first = dock.session.exam
    item(menu, "eye.npy").trigger()
    qtbot.waitUntil(lambda: dock.session.exam not in (None, first))
    assert dock.session.exam.source == tmp_path / "eye.npy"
    assert len(viewer.layers) == 1


def test_one_that_has_just_gone_is_said_and_what_is_in_view_stays(open_dock, qtbot, tmp_path):
    _, dock = open_dock()
    menu = menu_of(dock)
    path = eye(tmp_path / "eye.npy")
    dock.open_path(path)
    qtbot.waitUntil(lambda: "eye.npy" in texts(menu)[0])
    exam = dock.session.exam
    path.unlink()
    item(menu, "eye.npy").trigger()  # the menu does not know yet
    qtbot.waitUntil(lambda: bool(dock.session.error))
    assert "eye.npy is no longer in" in dock.session.error
    assert "\n" not in dock.session.error
    assert dock.session.exam is exam
    menu.aboutToShow.emit()
    qtbot.waitUntil(lambda: not item(menu, "eye.npy").isEnabled())


def test_one_click_forgets_them(open_dock, qtbot, tmp_path):
    _, dock = open_dock()
    menu = menu_of(dock)
    dock.open_path(eye(tmp_path / "eye.npy"))
    file = tmp_path / "configuration" / "recent.json"
    qtbot.waitUntil(file.exists)
    qtbot.waitUntil(lambda: len(texts(menu)) == 2)
    item(menu, "Forget these").trigger()
    qtbot.waitUntil(lambda: texts(menu) == ["None yet"])
    assert not file.exists()


@pytest.mark.parametrize("how", ["dropped", "beside", "from a table"])
def test_whatever_way_an_exam_is_opened_it_counts(open_dock, qtbot, tmp_path, how):
    from napari_octcube._arrivals import Offer, arrivals
    from napari_octcube._batch_rows import BatchRow

    _, dock = open_dock()
    dock.open_path(eye(tmp_path / "first.npy"))
    qtbot.waitUntil(lambda: dock.session.exam is not None)
    path = eye(tmp_path / "second.npy")
    if how == "dropped":
        arrivals.offered.emit(Offer(path))
    elif how == "beside":
        dock.open_beside(path)
    else:
        row = BatchRow({"path": str(path), "part": ""}, tmp_path)
        dock._open_row(row, tmp_path)
    qtbot.waitUntil(lambda: "second.npy" in texts(menu_of(dock))[0])
