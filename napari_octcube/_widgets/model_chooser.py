"""Chooses the model of the next run: the one inside the package, a released one by its name, or a local file."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QFileDialog, QWidget

from napari_octcube._session import Session
from octcube_core.checkpoints.released import RELEASED, ReleasedModel

BUILT_IN = tuple((name, f"{name} (synthetic eyes)") for name in ("demo", "demo-ga", "demo-coep"))
OPEN_FILE = "Local file…"
FILE_TYPES = "Model files (*.safetensors *.pth *.pt *.ckpt);;All files (*)"


class ModelChooser(QComboBox):
    """A list of models; the last entry asks for a file."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.setToolTip("The model of the next run")
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(14)
        for name, text in BUILT_IN:
            self.addItem(text, name)
        for name, model in RELEASED.items():
            self.addItem(name, name)
            tip = _tip(model)
            self.setItemData(self.findData(name), tip, Qt.ItemDataRole.ToolTipRole)
        self.addItem(OPEN_FILE, None)
        self._refresh()
        self.activated.connect(self._on_activated)
        session.events.model.connect(self._refresh)
        session.events.running.connect(self._refresh)

    def _on_activated(self, index: int) -> None:
        name = self.itemData(index)
        if name is None:
            name, _ = QFileDialog.getOpenFileName(self, "Open a model", "", FILE_TYPES)
        if name:
            self._session.model = name
        self._refresh()

    def _refresh(self) -> None:
        name = self._session.model
        if self.findData(name) < 0:
            self.insertItem(self.count() - 1, Path(name).name, name)
            self.setItemData(self.findData(name), name, Qt.ItemDataRole.ToolTipRole)
        self.setCurrentIndex(self.findData(name))
        self.setEnabled(self._session.running is None)


def _tip(model: ReleasedModel) -> str:
    size = f" ({model.size})" if model.size else ""
    gated = ", for which its authors must have given you access" if model.gated else ""
    return f"{model.does}; downloaded on first use{size}{gated}"
