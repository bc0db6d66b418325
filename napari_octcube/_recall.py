"""Shows a result that was made before as soon as its exam opens, and keeps every new one. No Qt."""

from __future__ import annotations

import threading

from napari_octcube._inference import Dispatch
from napari_octcube._session import Session
from octcube_core.checkpoints.hub import existing_file, find_local
from octcube_core.errors import OCTCubeError
from octcube_core.exam import Exam
from octcube_core.result_cache import ResultCache
from octcube_core.results import Analysis

RECALLED = "Analysed before"


class Recall:
    """Watches a session; reads and writes the cache on threads of its own.

    Parameters
    ----------
    session : Session
    dispatch : callable
        Runs a function on the owner's thread, from any thread.
    cache : ResultCache, optional
    """

    def __init__(
        self, session: Session, dispatch: Dispatch, cache: ResultCache | None = None
    ) -> None:
        self._session = session
        self._dispatch = dispatch
        self.cache = cache or ResultCache()
        self._recalled: Analysis | None = None
        session.events.exam.connect(self._look_up)
        session.events.model.connect(self._look_up)
        session.analysis_finished.connect(self._keep)

    def close(self) -> None:
        """Leave the session alone from now on."""
        self._session.events.exam.disconnect(self._look_up)
        self._session.events.model.disconnect(self._look_up)
        self._session.analysis_finished.disconnect(self._keep)

    def _look_up(self) -> None:
        exam, model = self._session.exam, self._session.model
        if exam is None or self._session.running is not None:
            return

        def found(analysis: Analysis) -> None:
            session = self._session
            # Nothing that is newer is overwritten, nor what runs.
            if session.exam is exam and session.model == model and session.running is None:
                self._recalled = analysis
                device = session.device
                session.finish(exam, analysis)
                session.device = device  # what the next run will use
                session.stage = RECALLED

        def work() -> None:
            key = self._key(exam, model)
            analysis = None if key is None else self.cache.get(key)
            if analysis is not None and analysis.grid.volume_shape == exam.volume.shape:
                self._dispatch(lambda: found(analysis))

        threading.Thread(target=work, name="octcube recall", daemon=True).start()

    def _keep(self, analysis: Analysis) -> None:
        exam, model = self._session.exam, self._session.model
        if exam is None or analysis is self._recalled:
            return

        def work() -> None:
            key = self._key(exam, model)
            if key is not None:
                self.cache.put(key, analysis)

        threading.Thread(target=work, name="octcube keep", daemon=True).start()

    def _key(self, exam: Exam, model: str) -> str | None:
        try:
            file = find_local(model) or existing_file(model)
            return None if file is None else self.cache.key(exam, file)
        except (OCTCubeError, OSError):
            return None  # the model is not here: the run will say so
