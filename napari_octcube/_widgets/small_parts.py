"""The label, the button and the question that many widgets have."""

from __future__ import annotations

from qtpy.QtWidgets import QLabel, QMessageBox, QPushButton, QWidget


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


def is_wanted(parent: QWidget, title: str, question: str) -> bool:
    """Ask whether to do what cannot be undone."""
    yes = QMessageBox.StandardButton.Yes
    buttons = yes | QMessageBox.StandardButton.No
    return bool(QMessageBox.question(parent, title, question, buttons) == yes)
