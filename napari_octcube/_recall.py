"""Shows a result that was made before as soon as its exam opens, and keeps every new one. No Qt."""

from __future__ import annotations

import threading
from collections.abc import Callable

from napari_octcube._inference import Dispatch
from napari_octcube._session import Session
from napari_octcube._settings import MEGABYTE, Runtime, Settings
from octcube_core.checkpoints.hub import existing_file, find_local
from octcube_core.errors import OCTCubeError
from octcube_core.exam import Exam
from octcube_core.result_cache import ResultCache
from octcube_core.results import Analysis

RECALLED = "Analysed before"
KEEP_AFTER_S = 0.5
SETTLE_S = 1.0  # a size that is only passed over in a list must not cost results


class Recall:
    """Watches a session; reads and writes the cache on threads of its own.

    Parameters
    ----------
    session : Session
    dispatch : callable
        Runs a function on the owner's thread, from any thread.
    cache : ResultCache, optional
    settings : Settings, optional
        How large the cache may be, and how models run: a result is known again only if it was made that way.
    """

    def __init__(
        self,
        session: Session,
        dispatch: Dispatch,
        cache: ResultCache | None = None,
        settings: Settings | None = None,
    ) -> None:
        self._session = session
        self._dispatch = dispatch
        self._settings = settings or Settings()
        self.cache = cache or ResultCache()
        self.cache.most_bytes = self._settings.results_mb * MEGABYTE
        self._recalled: Analysis | None = None
        self._run_as = self._settings.runtime
        self._resizing: threading.Timer | None = None
        session.events.exam.connect(self._look_up)
        session.events.model.connect(self._look_up)
        session.events.running.connect(self._on_running)
        session.analysis_finished.connect(self._keep)
        for event in ("device", "precision"):
            self._settings.events[event].connect(self._look_up)
        self._settings.events.results_mb.connect(self._resize_soon)

    def close(self) -> None:
        """Leave the session alone from now on."""
        self._session.events.exam.disconnect(self._look_up)
        self._session.events.model.disconnect(self._look_up)
        self._session.events.running.disconnect(self._on_running)
        self._session.analysis_finished.disconnect(self._keep)
        for event in ("device", "precision"):
            self._settings.events[event].disconnect(self._look_up)
        self._settings.events.results_mb.disconnect(self._resize_soon)

    def measure(self, on_size: Callable[[int], None]) -> None:
        """Find out how many bytes the kept results take."""

        def work() -> None:
            size = self.cache.size
            self._dispatch(lambda: on_size(size))

        threading.Thread(target=work, name="octcube measure", daemon=True).start()

    def forget_all(self) -> None:
        """Forget all kept results; what is in view stays."""
        threading.Thread(target=self.cache.clear, name="octcube forget", daemon=True).start()

    def _resize_soon(self) -> None:
        if self._resizing is not None:
            self._resizing.cancel()
        size = self._settings.results_mb * MEGABYTE
        self._resizing = threading.Timer(SETTLE_S, lambda: self.cache.resize(size))
        self._resizing.daemon = True
        self._resizing.start()

    def _on_running(self, running: Exam | None) -> None:
        if running is not None:  # what is set while it runs is for the next
            self._run_as = self._settings.runtime

    def _look_up(self) -> None:
        exam, model = self._session.exam, self._session.model
        runtime = self._settings.runtime
        if exam is None or self._session.running is not None:
            return

        def found(analysis: Analysis) -> None:
            session = self._session
            # Nothing that is newer is overwritten, nor what runs.
            same = session.exam is exam and session.model == model
            if same and runtime == self._settings.runtime and session.running is None:
                self._recalled = analysis
                device = session.device
                session.finish(exam, analysis)
                session.device = device  # what the next run will use
                session.stage = RECALLED

        def work() -> None:
            key = self._key(exam, model, runtime)
            analysis = None if key is None else self.cache.get(key)
            if analysis is not None and analysis.grid.volume_shape == exam.volume.shape:
                self._dispatch(lambda: found(analysis))

        threading.Thread(target=work, name="octcube recall", daemon=True).start()

    def _keep(self, analysis: Analysis) -> None:
        exam, model, runtime = self._session.exam, self._session.model, self._run_as
        if exam is None or analysis is self._recalled:
            return

        def work() -> None:
            key = self._key(exam, model, runtime)
            if key is not None:
                self.cache.put(key, analysis)

        # A moment later: hashing a whole exam would slow down the drawing of its overlay.
        later = threading.Timer(KEEP_AFTER_S, work)
        later.daemon = True
        later.start()

    def _key(self, exam: Exam, model: str, runtime: Runtime) -> str | None:
        how = (runtime.device, runtime.precision)
        try:
            file = find_local(model, runtime.models_folder) or existing_file(model)
            if file is None:
                return None
            # by the words, as auto may mean another precision on another device
            return self.cache.key(exam, file, "" if set(how) == {"auto"} else " ".join(how))
        except (OCTCubeError, OSError):
            return None  # the model is not here: the run will say so
