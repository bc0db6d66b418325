"""What ``octcube-viewer`` says before a window can open."""

import sys

import pytest

from napari_octcube.__main__ import main


def test_no_display_names_xvfb(monkeypatch, capsys):
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    assert main(["--demo"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("octcube-viewer: error: ")
    assert "xvfb-run" in line


def test_platform_that_draws_nothing_is_refused(monkeypatch, capsys):
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    assert main(["--demo"]) == 2
    assert "cannot draw images" in capsys.readouterr().err


def test_no_qt_binding_names_the_extra(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["--demo"]) == 2
    assert 'pip install "napari-octcube[all]"' in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["path", "--demo"], ["--analyze"], ["--exam", "2"]])
def test_contradictions_are_refused(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "octcube-viewer: error:" in capsys.readouterr().err
