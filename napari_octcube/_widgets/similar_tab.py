"""The tab of similar eyes: the archive, the question, what was found, and the map."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from qtpy.QtWidgets import (
    QHBoxLayout,
    QPushButton,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_octcube._beside import Beside
from napari_octcube._folder_indexing import FolderIndexing
from napari_octcube._inference import Dispatch
from napari_octcube._map_making import MapMaking
from napari_octcube._session import Session
from napari_octcube._similar import SimilarEyes
from napari_octcube._why_pictures import WhyPicture, why_pictures
from napari_octcube._widgets.archive_bar import ArchiveBar
from napari_octcube._widgets.archive_map_view import ArchiveMapView
from napari_octcube._widgets.neighbour_gallery import NeighbourGallery, known_of
from napari_octcube._widgets.similar_question import SimilarQuestion
from napari_octcube._widgets.small_parts import note_label, tipped_button
from napari_octcube._widgets.why_dialog import WhyDialog
from octcube_core.exam import Exam
from octcube_core.results import DISCLAIMER
from octcube_core.retrieval.archive_map import METHODS, Method
from octcube_core.retrieval.records import Neighbour
from octcube_core.worker_protocol import Explained

NO_LABELS = "None of these eyes has a label."


class SimilarTab(QWidget):
    """From top to bottom in the order of work."""

    def __init__(
        self,
        session: Session,
        similar: SimilarEyes,
        beside: Beside,
        dispatch: Dispatch,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._similar, self._beside = session, similar, beside
        self._dispatch = dispatch
        state = self._state = similar.state
        self.indexing = FolderIndexing(similar, dispatch)
        self.mapping = MapMaking(similar, dispatch)
        self.archive_bar = ArchiveBar(
            session,
            state,
            similar.open_archive,
            similar.add_exam,
            self.indexing.start,
            self.indexing.stop,
        )
        self.question = SimilarQuestion(session, state, similar.ask, similar.find)
        self.news = note_label()
        self.gallery = NeighbourGallery(state)
        self.votes = note_label()
        self.votes.setToolTip("How many of the neighbours that have labels have each of them")
        self.open_button = tipped_button(
            "Open beside", "Open the selected eye beside the one in view"
        )
        self.why_button = tipped_button("Why?", "Show on both eyes what makes them alike")
        self.close_button = tipped_button("Close beside", "Take the eye beside away")
        self.map_view = ArchiveMapView(state)
        self.map_legend = note_label()
        self.why_dialog: WhyDialog | None = None
        self.pages = QTabWidget()
        self.pages.addTab(self._gallery_page(), "Gallery")
        self.pages.addTab(self._map_page(), "Map")
        disclaimer = note_label(DISCLAIMER)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 8, 8, 6)
        column.setSpacing(5)
        for widget in (self.archive_bar, self.question, self.news):
            column.addWidget(widget)
        column.addWidget(self.pages, 1)
        column.addWidget(disclaimer)
        self.gallery.opened.connect(self.open_beside)
        self.open_button.clicked.connect(lambda: self._with_selected(self.open_beside))
        self.why_button.clicked.connect(lambda: self._with_selected(self.explain))
        self.close_button.clicked.connect(lambda: beside.leave())
        beside.changed.connect(self._on_beside)
        for event in ("busy", "note", "error", "found", "selected", "archive", "map", "beside"):
            state.events[event].connect(self._refresh)
        self._refresh()

    def close_down(self) -> None:
        """End what runs for this tab."""
        self.indexing.close()
        self.mapping.close()
        self._similar.close()

    def open_beside(self, neighbour: Neighbour) -> None:
        """Open a neighbour beside the eye in view."""

        def show(exam: Exam) -> None:
            side = neighbour.identity.laterality or "eye"
            known = known_of(neighbour)
            words = f"Similar {side} ({neighbour.similarity:.2f}){f', {known}' if known else ''}"
            self._beside.show(exam, words)
            self._state.beside = neighbour

        self._similar.read(neighbour, show)

    def explain(self, neighbour: Neighbour) -> None:
        """Show why a neighbour was found."""
        self._similar.explain(neighbour, self._draw_why)

    def _draw_why(self, exam: Exam, other: Exam, explained: Explained) -> None:
        def work() -> None:
            left = why_pictures(exam, explained.query)
            right = why_pictures(other, explained.neighbour)
            self._dispatch(lambda: show(left, right))

        def show(left: list[WhyPicture], right: list[WhyPicture]) -> None:
            if self.why_dialog is not None:
                self.why_dialog.close()
            self.why_dialog = WhyDialog(explained.query, left, right, self.window())
            self.why_dialog.destroyed.connect(self._forget_dialog)
            self.why_dialog.show()

        threading.Thread(target=work, name="octcube why", daemon=True).start()

    def _forget_dialog(self) -> None:
        self.why_dialog = None

    def _gallery_page(self) -> QWidget:
        buttons = (self.open_button, self.close_button, self.why_button)
        return _page((self.gallery, self.votes), buttons)

    def _map_page(self) -> QWidget:
        self.map_buttons = {method: self._map_button(method) for method in METHODS}
        return _page((self.map_view, self.map_legend), list(self.map_buttons.values()))

    def _map_button(self, method: Method) -> QPushButton:
        tips = {
            "pca": "Lay out the archive by principal components: quick, true to large distances",
            "umap": "Lay out the archive by UMAP: slower, keeps alike eyes together",
        }
        button = tipped_button(method.upper(), tips[method])
        button.clicked.connect(lambda: self.mapping.start(method))
        return button

    def _with_selected(self, act: Callable[[Neighbour], None]) -> None:
        if self._state.selected is not None:
            act(self._state.selected)

    def _on_beside(self, exam: Exam | None) -> None:
        self._state.beside = None  # unless it is a neighbour, which is noted next

    def _refresh(self) -> None:
        state = self._state
        text = f"⚠ {state.error}" if state.error else state.busy or state.note
        if not text and state.found is not None and not state.found.neighbours:
            text = "No eye passes the filters."
        self.news.setText(text)
        self.news.setVisible(bool(text))
        chosen = state.selected is not None and not state.busy
        self.open_button.setEnabled(chosen)
        self.why_button.setEnabled(chosen)
        self.close_button.setEnabled(state.beside is not None)
        self.votes.setText(self._votes_text())
        self.votes.setVisible(state.found is not None and bool(state.found.neighbours))
        enough = state.archive is not None and state.archive.counts.get(state.to, 0) >= 3
        for button in self.map_buttons.values():
            button.setEnabled(enough and not state.busy)
        legend = (
            f'<span style="color: rgb{colour}">●</span> {name}'
            for name, colour in self.map_view.legend.items()
        )
        self.map_legend.setText("&nbsp; ".join(legend))

    def _votes_text(self) -> str:
        found = self._state.found
        if found is None or not found.votes:
            return NO_LABELS
        counts = " · ".join(f"{vote.label} {vote.count}" for vote in found.votes)
        return f"Labels among {found.votes[0].of} labelled neighbours: {counts}"


def _page(widgets: Sequence[QWidget], buttons: Sequence[QWidget]) -> QWidget:
    """The first of the widgets has all the room; the buttons stand below in a row."""
    page = QWidget()
    column = QVBoxLayout(page)
    column.setContentsMargins(0, 4, 0, 0)
    column.setSpacing(4)
    for number, widget in enumerate(widgets):
        column.addWidget(widget, 1 if number == 0 else 0)
    row = QHBoxLayout()
    for button in buttons:
        row.addWidget(button)
    column.addLayout(row)
    return page
