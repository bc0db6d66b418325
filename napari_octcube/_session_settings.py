"""Gives a session what the user has set, at the start and when it changes, and remembers the aspect. No Qt."""

from __future__ import annotations

from napari_octcube._session import Session
from napari_octcube._settings import ASPECTS, Settings

PERCENT = 100


class SessionSettings:
    """Ties one session to the settings, for as long as it is kept."""

    def __init__(self, session: Session, settings: Settings) -> None:
        self._session, self._settings = session, settings
        session.model = settings.first_model.strip() or session.model
        self._set_opacity()
        self._set_threshold()
        self._set_colours()
        self._set_aspect()
        settings.events.opacity.connect(self._set_opacity)
        settings.events.threshold.connect(self._set_threshold)
        settings.events.colours.connect(self._set_colours)
        settings.events.aspect.connect(self._set_aspect)
        session.events.aspect.connect(self._remember_aspect)

    def _set_opacity(self) -> None:
        self._session.overlay_opacity = self._settings.opacity / PERCENT

    def _set_threshold(self) -> None:
        self._session.overlay_threshold = self._settings.threshold / PERCENT

    def _set_colours(self) -> None:
        self._session.overlay_colormap = self._settings.colours

    def _set_aspect(self) -> None:
        self._session.aspect = ASPECTS[self._settings.aspect]

    def _remember_aspect(self) -> None:
        names = {aspect: name for name, aspect in ASPECTS.items()}
        self._settings.remember("aspect", names[self._session.aspect])
