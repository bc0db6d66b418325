"""The viewer and its tests use one Qt binding, the one that was asked for: two in a process crash sooner or later."""

import os
import sys

import pytest


@pytest.mark.xvfb
def test_one_binding_is_loaded(open_dock):
    open_dock(show=True)
    loaded = {name for name in ("PyQt6", "PySide6", "PyQt5", "PySide2") if name in sys.modules}
    assert {name.lower() for name in loaded} == {os.environ.get("QT_API", "pyqt6").lower()}
