"""Keys of buttons that may be on a hidden tab."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QWidget


def add_key(owner: QWidget, key: str, press: Callable[[], None]) -> None:
    """Do something by a key while ``owner`` is shown, whichever of its tabs is in front: Qt asks no hidden widget."""
    QShortcut(QKeySequence(key), owner, press)
