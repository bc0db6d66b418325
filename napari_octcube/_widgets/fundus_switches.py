"""What lies on the fundus picture: saliency as heat, the ETDRS grid."""

from __future__ import annotations

from qtpy.QtWidgets import QCheckBox, QGridLayout, QLabel, QPushButton, QWidget

from napari_octcube._session import Session
from octcube_core.etdrs import Fovea

HEAT_TIP = "Saliency seen from the front; its colours, opacity and threshold are those of the overlay (tab Analysis)"
ETDRS_TIP = (
    "Circles of 1, 3 and 6 mm around the fovea. Drag the cross to move it, "
    "or press Shift and an arrow key in the picture."
)
NO_SCALE_TIP = "The file does not state how large a pixel of this image is, so circles in millimetres cannot be drawn."


class FundusSwitches(QWidget):
    """Two switches of the session, and a word on each."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.heat_switch = QCheckBox("Heat")
        self.etdrs_switch = QCheckBox("ETDRS")
        self.fovea_label = QLabel()
        self.estimate_button = QPushButton("Estimate")
        self.estimate_button.setToolTip("Put the fovea back to where it is estimated")
        policy = self.estimate_button.sizePolicy()
        # or the picture would shift while the fovea is dragged
        policy.setRetainSizeWhenHidden(True)
        self.estimate_button.setSizePolicy(policy)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(3)
        grid.addWidget(self.heat_switch, 0, 0, 1, 3)
        grid.addWidget(self.etdrs_switch, 1, 0)
        grid.addWidget(self.fovea_label, 1, 1)
        grid.addWidget(self.estimate_button, 1, 2)
        grid.setColumnStretch(1, 1)
        self.heat_switch.toggled.connect(lambda on: setattr(session, "show_heat", on))
        self.etdrs_switch.toggled.connect(lambda on: setattr(session, "show_etdrs", on))
        session.events.show_heat.connect(self._refresh)
        session.events.show_etdrs.connect(self._refresh)
        self._refresh()

    def set_heat(self, text: str, reason: str = "") -> None:
        """Say what the heat is of, or why there is none."""
        self.heat_switch.setText(text)
        self.heat_switch.setToolTip(reason or HEAT_TIP)
        self.heat_switch.setEnabled(not reason)

    def set_fovea(self, fovea: Fovea | None) -> None:
        """Say how the fovea's place is known; None if the image has no scale for the grid."""
        self.etdrs_switch.setEnabled(fovea is not None)
        self.etdrs_switch.setText("ETDRS" if fovea is not None else "ETDRS (scale unknown)")
        self.etdrs_switch.setToolTip(ETDRS_TIP if fovea is not None else NO_SCALE_TIP)
        self.fovea_label.setVisible(fovea is not None and self._session.show_etdrs)
        self.estimate_button.setVisible(
            fovea is not None and self._session.show_etdrs and not fovea.estimate
        )
        if fovea is not None:
            known = "estimated" if fovea.estimate else "placed by you"
            self.fovea_label.setText(f"Fovea {known}")
            self.fovea_label.setToolTip(
                f"At the centre of {fovea.estimate}; drag the cross to where the fovea is"
                if fovea.estimate
                else "Remembered until the viewer closes"
            )

    def _refresh(self) -> None:
        self.heat_switch.setChecked(self._session.show_heat)
        self.etdrs_switch.setChecked(self._session.show_etdrs)
