import pytest

from napari_octcube._widgets.open_button import OpenButton

DIALOG = "napari_octcube._widgets.open_button.QFileDialog"


@pytest.fixture
def opened(qtbot):
    opened = []
    button = OpenButton(
        opened.append,
        lambda folder: opened.append(("analyse", folder)),
        lambda path: opened.append(("beside", path)),
    )
    qtbot.addWidget(button)
    return button, opened


def trigger(button, text):
    (action,) = (action for action in button.menu().actions() if action.text() == text)
    action.trigger()


def test_files(opened, monkeypatch, tmp_path):
    button, paths = opened
    names = [str(tmp_path / "a.vol"), str(tmp_path / "b.vol")]
    monkeypatch.setattr(f"{DIALOG}.getOpenFileNames", lambda *_: (names, ""))
    trigger(button, "Files…")
    assert paths == [[tmp_path / "a.vol", tmp_path / "b.vol"]]


def test_folder(opened, monkeypatch, tmp_path):
    button, paths = opened
    monkeypatch.setattr(f"{DIALOG}.getExistingDirectory", lambda *_: str(tmp_path))
    trigger(button, "Folder…")
    assert paths == [[tmp_path]]


def test_a_folder_to_analyse(opened, monkeypatch, tmp_path):
    button, asked = opened
    monkeypatch.setattr(f"{DIALOG}.getExistingDirectory", lambda *_: str(tmp_path))
    trigger(button, "Analyse a folder…")
    assert asked == [("analyse", tmp_path)]


def test_cancelled_dialogs_open_nothing(opened, monkeypatch):
    button, paths = opened
    monkeypatch.setattr(f"{DIALOG}.getOpenFileNames", lambda *_: ([], ""))
    monkeypatch.setattr(f"{DIALOG}.getExistingDirectory", lambda *_: "")
    trigger(button, "Files…")
    trigger(button, "Folder…")
    trigger(button, "Analyse a folder…")
    assert paths == []


def test_an_exam_to_compare_with(opened, monkeypatch, tmp_path):
    button, asked = opened
    monkeypatch.setattr(f"{DIALOG}.getOpenFileName", lambda *_: (str(tmp_path / "a.vol"), ""))
    monkeypatch.setattr(f"{DIALOG}.getExistingDirectory", lambda *_: str(tmp_path))
    trigger(button, "File beside…")
    trigger(button, "Folder beside…")
    assert asked == [("beside", tmp_path / "a.vol"), ("beside", tmp_path)]
