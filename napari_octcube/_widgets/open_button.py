"""A button to open a file or a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton, QWidget

from octcube_core.readers.formats import FORMATS


class OpenButton(QPushButton):
    """Asks for files or for a folder, which may hold many exams, to open or to analyse."""

    def __init__(
        self,
        open_paths: Callable[[Sequence[Path]], None],
        analyse_folder: Callable[[Path], None],
        open_beside: Callable[[Path], None],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__("Open", parent)
        self._open_paths = open_paths
        self._analyse_folder = analyse_folder
        self._open_beside = open_beside
        self.setToolTip("Open exams: " + "; ".join(found.files for found in FORMATS))
        menu = QMenu(self)
        menu.addAction("Files…", self.ask_for_files)
        menu.addAction("Folder…", self.ask_for_folder)
        self._after_recent = menu.addSeparator()
        file = menu.addAction("File beside…", self._ask_for_file_beside)
        folder = menu.addAction("Folder beside…", self._ask_for_folder_beside)
        for action in (file, folder):
            action.setToolTip(
                "Compare another exam with the one in view: the fellow eye, or a visit"
            )
        menu.addSeparator()
        batch = menu.addAction("Analyse a folder…", self._ask_what_to_analyse)
        batch.setToolTip("Score all exams of a folder, in the background, into a table")
        menu.setToolTipsVisible(True)
        self.setMenu(menu)

    def add_recent(self, recent: QMenu) -> None:
        """Put the exams that were opened last below what opens any."""
        menu = self.menu()
        assert menu is not None
        recent.setParent(menu, recent.windowFlags())
        action = menu.insertMenu(self._after_recent, recent)
        assert action is not None
        action.setToolTip("The exams that were opened last")

    def ask_for_files(self) -> None:
        """Ask for files and open what is in them."""
        # all files, because DICOM files often have no suffix
        names, _ = QFileDialog.getOpenFileNames(self, "Open exams", "", "All files (*)")
        if names:
            self._open_paths([Path(name) for name in names])

    def ask_for_folder(self) -> None:
        """Ask for a folder and open what is in it."""
        name = QFileDialog.getExistingDirectory(self, "Open a folder of exams")
        if name:
            self._open_paths([Path(name)])

    def _ask_for_file_beside(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Open an exam beside", "", "All files (*)")
        if name:
            self._open_beside(Path(name))

    def _ask_for_folder_beside(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Open the exam of a folder beside")
        if name:
            self._open_beside(Path(name))

    def _ask_what_to_analyse(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Analyse all exams in a folder")
        if name:
            self._analyse_folder(Path(name))
