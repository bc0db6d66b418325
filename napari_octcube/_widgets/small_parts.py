"""The label and the button that many tabs have."""

from __future__ import annotations

from qtpy.QtWidgets import QLabel, QPushButton


def note_label(text: str = "") -> QLabel:
    """A label that takes as many lines as it needs."""
    label = QLabel(text)
    label.setWordWrap(True)
    return label


def tipped_button(text: str, tip: str) -> QPushButton:
    """A button that says on hover what it does."""
    button = QPushButton(text)
    button.setToolTip(tip)
    return button
