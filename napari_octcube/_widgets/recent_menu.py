"""The exams that were opened last, as a submenu."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtWidgets import QMenu, QWidget

from napari_octcube._recent import RecentExam, RecentExams

NONE_YET = "None yet"
FORGET = "Forget these"
FORGET_TIP = "Empty this list, and delete it from this computer; the exams themselves stay"


class RecentMenu(QMenu):
    """An item for each recent exam, greyed if its file is gone, and one that forgets them all.

    Parameters
    ----------
    recent : RecentExams
    on_open : callable of RecentExam
    """

    def __init__(
        self,
        recent: RecentExams,
        on_open: Callable[[RecentExam], None],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__("Recent", parent)
        self._recent = recent
        self._on_open = on_open
        self.setToolTipsVisible(True)
        self.aboutToShow.connect(recent.look)
        recent.changed.connect(self._fill)
        self._fill()

    def _fill(self) -> None:
        self.clear()
        for number, exam in enumerate(self._recent.exams, 1):
            self._add(number, exam)
        if not self._recent.exams:
            self.addAction(NONE_YET).setEnabled(False)
            return
        self.addSeparator()
        self.addAction(FORGET, self._recent.forget).setToolTip(FORGET_TIP)

    def _add(self, number: int, exam: RecentExam) -> None:
        gone = exam in self._recent.gone
        words = exam.words.replace("&", "&&")  # Qt would underline the next letter
        key = f"&{number}  " if number < 10 else ""
        action = self.addAction(f"{key}{words}{' (gone)' if gone else ''}")
        action.setEnabled(not gone)
        missing = "\nNothing lies there any more." if gone else ""
        action.setToolTip(f"{exam.place.path}{missing}")
        action.triggered.connect(lambda: self._on_open(exam))
