"""A small menu for the contrast of the B-scans."""

from __future__ import annotations

from math import isclose

from qtpy.QtCore import QTimer
from qtpy.QtGui import QActionGroup
from qtpy.QtWidgets import QMenu, QPushButton, QWidget

from napari_octcube._contrast import FULL_RANGE, Contrast, auto_contrast, device_of
from napari_octcube._display_contrast import DisplayContrast
from napari_octcube._session import Session

SIGN = "◐"  # a word would make the row wider than the dock
WIDTH = 36
TIP = (
    "Contrast of the B-scans on the screen. napari's sliders for contrast limits and gamma change it, too, and what "
    "they set is remembered for the device.\nModels, saliency and reports are not affected."
)
AUTO_TIP = "What suits the values of this exam"
DEVICE_TIP = "As you set it last for this device; its next exams open like this"
NO_DEVICE_TIP = "You have set none for this device yet: move contrast limits or gamma on the left"
FULL_TIP = "From the file's black to its white"
FORGET_TIP = "Exams of this device open with Auto again"


class ContrastButton(QPushButton):
    """What suits the exam, what the user set for the device, or all that the file holds."""

    def __init__(
        self, session: Session, contrast: DisplayContrast, parent: QWidget | None = None
    ) -> None:
        super().__init__(SIGN, parent)
        self.setFixedWidth(WIDTH)
        self.setAccessibleName("Contrast")
        self._session = session
        self._contrast = contrast
        self.setToolTip(TIP)
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        group = QActionGroup(menu)
        self.auto = menu.addAction("Auto", contrast.auto)
        self.device = menu.addAction("Device preset", contrast.device)
        self.full = menu.addAction("Full range", contrast.full)
        self.auto.setToolTip(AUTO_TIP)
        self.full.setToolTip(FULL_TIP)
        for action in (self.auto, self.device, self.full):
            action.setCheckable(True)
            group.addAction(action)
        group.setExclusionPolicy(QActionGroup.ExclusionPolicy.ExclusiveOptional)
        menu.addSeparator()
        self.forget = menu.addAction("Forget the device preset", contrast.forget)
        self.forget.setToolTip(FORGET_TIP)
        self.setMenu(menu)
        menu.aboutToShow.connect(self._refresh)
        session.events.exam.connect(self._refresh_soon)
        self._refresh()

    def _refresh_soon(self) -> None:
        QTimer.singleShot(0, self._refresh)

    def _refresh(self) -> None:
        exam, remembered = self._session.exam, self._contrast.remembered
        current = self._contrast.current
        self.setEnabled(exam is not None)
        self.device.setEnabled(remembered is not None)
        self.forget.setEnabled(remembered is not None)
        name = f" ({device_of(exam)})" if exam is not None and device_of(exam) else ""
        self.device.setText(f"Device preset{name}".replace("&", "&&"))
        self.device.setToolTip(NO_DEVICE_TIP if remembered is None else DEVICE_TIP)
        if exam is None or current is None:
            return
        choices = (
            (self.device, remembered),
            (self.auto, auto_contrast(exam.volume)),
            (self.full, FULL_RANGE),
        )
        for action, _ in choices:
            action.setChecked(False)
        alike = (action for action, look in choices if look and _is_alike(look, current))
        if action := next(alike, None):
            action.setChecked(True)


def _is_alike(one: Contrast, other: Contrast) -> bool:
    pairs = ((one.low, other.low), (one.high, other.high), (one.gamma, other.gamma))
    return all(isclose(first, second, abs_tol=2e-3) for first, second in pairs)
