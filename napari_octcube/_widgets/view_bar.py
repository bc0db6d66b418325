"""Switches between the views, by mouse and by key, and projects over depth."""

from __future__ import annotations

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QButtonGroup, QComboBox, QGridLayout, QLabel, QPushButton, QWidget
from superqt import QRangeSlider

from napari_octcube._session import Session
from napari_octcube._views import View, Views
from napari_octcube._widgets.keys import add_key

VIEWS: tuple[tuple[View, str, str, str], ...] = (
    ("bscan", "B-scan", "Alt+1", "One B-scan after another"),
    ("enface", "En face", "Alt+2", "From the front, over the fundus image"),
    ("slow", "Slow scan", "Alt+3", "Across the B-scans, one A-scan of each"),
    ("3d", "3D", "Alt+4", "The volume over the fundus image"),
)
PROJECTIONS = (("One depth", "slice"), ("Mean", "mean"), ("Maximum", "max"))
NO_PLANES = "These B-scans do not lie side by side; see the tab Localizer for where they are"


class ViewBar(QWidget):
    """A button for each view; below them, from the front, what is shown of the depth."""

    def __init__(self, session: Session, views: Views, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session, self._views = session, views
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(3)
        self.buttons: dict[View, QPushButton] = {}
        group = QButtonGroup(self)
        for column, (view, text, _, _) in enumerate(VIEWS):
            button = QPushButton(text)
            button.setCheckable(True)
            button.clicked.connect(lambda _, view=view: views.show(view))
            group.addButton(button)
            grid.addWidget(button, 0, column)
            self.buttons[view] = button
        self.projection_box = QComboBox()
        self.projection_box.setToolTip("What of the depth is shown from the front")
        for text, projection in PROJECTIONS:
            self.projection_box.addItem(text, projection)
        self.depth_slider = QRangeSlider(Qt.Orientation.Horizontal)
        self.depth_slider.setToolTip("Depth samples that are projected")
        self.depth_label = QLabel()
        grid.addWidget(self.projection_box, 1, 0, 1, 2)
        grid.addWidget(self.depth_slider, 1, 2, 1, 2)
        grid.addWidget(self.depth_label, 2, 0, 1, 4)
        self.projection_box.activated.connect(
            lambda index: views.choose_projection(self.projection_box.itemData(index))
        )
        self.depth_slider.valueChanged.connect(lambda depth: views.choose_depth(*depth))
        session.events.exam.connect(self._refresh)
        for event in ("view", "projection", "depth", "across"):
            views.state.events[event].connect(self._refresh)
        self._refresh()

    def add_keys(self, owner: QWidget) -> None:
        """Listen to the keys while a widget is shown."""
        for view, _, key, _ in VIEWS:
            add_key(owner, key, self.buttons[view].click)

    def _refresh(self) -> None:
        state, exam = self._views.state, self._session.exam
        for view, _, key, tip in VIEWS:
            button = self.buttons[view]
            possible = exam is not None and (state.across or view in ("bscan", "3d"))
            button.setEnabled(possible)
            button.setChecked(view == state.view)
            reason = NO_PLANES if exam is not None and not possible else tip
            button.setToolTip(f"{reason} ({key})")
        from_front = exam is not None and state.view == "enface"
        projected = from_front and state.projection != "slice"
        self.projection_box.setVisible(from_front)
        self.depth_slider.setVisible(projected)
        self.depth_label.setVisible(projected)
        self.projection_box.setCurrentIndex(self.projection_box.findData(state.projection))
        if exam is not None:
            with QSignalBlocker(self.depth_slider):
                self.depth_slider.setRange(0, exam.volume.shape[1] - 1)
                self.depth_slider.setValue(state.depth)
            first, last = state.depth
            self.depth_label.setText(f"Depth {first + 1} to {last + 1} of {exam.volume.shape[1]}")
