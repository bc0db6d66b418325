"""What the user has set in napari's Preferences, and who is told of a change. No Qt."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

import yaml
from psygnal import SignalGroupDescriptor

from napari_octcube._session import Aspect
from octcube_core.checkpoints.hub import FOLDER_VARIABLE
from octcube_core.colours import OVERLAY_COLORMAPS
from octcube_core.result_cache import MOST_BYTES

PLUGIN = "napari-octcube"
MEGABYTE = 1_000_000
ASPECTS: dict[str, Aspect] = {"true proportions": "um", "square pixels": "px"}
FOLDER_IS_NAMED = f"{FOLDER_VARIABLE} is set, so models are looked for there and not in the folder of the settings."
_KEYS = {
    "device": ("model", "device"),
    "precision": ("model", "precision"),
    "models_folder": ("model", "folder"),
    "first_model": ("model", "first"),
    "results_mb": ("results", "megabytes"),
    "opacity": ("overlay", "opacity"),
    "threshold": ("overlay", "threshold"),
    "colours": ("overlay", "colours"),
    "aspect": ("bscan", "aspect"),
}  # of the configurations in napari.yaml

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Runtime:
    """Where and how a model runs, in the words of the command line.

    ``models_folder`` is empty where the environment or the default decides.
    """

    device: str = "auto"
    precision: str = "auto"
    models_folder: str = ""

    @property
    def arguments(self) -> tuple[str, ...]:
        """What an ``octcube`` command is given."""
        return ("--device", self.device, "--precision", self.precision)

    @property
    def environment(self) -> dict[str, str]:
        """What a process of ours must find in its environment, beside what is there."""
        return {FOLDER_VARIABLE: self.models_folder} if self.models_folder else {}

    @property
    def for_embeddings(self) -> Runtime:
        """The same, but not in fp16: an archive takes weights that were rounded to it for another model's."""
        precision = "auto" if self.precision == "fp16" else self.precision
        return Runtime(self.device, precision, self.models_folder)


@dataclass(eq=False)
class Settings:
    """The settings; ``events.<field>`` tells when one changes. Without napari's they are the defaults.

    Attributes
    ----------
    device, precision : str
        As on the command line.
    models_folder : str
        Where model files lie; empty for the default.
    first_model : str
        Name or path of the model that a new viewer begins with.
    results_mb : int
        What kept results may take, in MB.
    opacity, threshold : int
        Of the overlay, in percent.
    colours : str
        One of ``OVERLAY_COLORMAPS``.
    aspect : str
        One of ``ASPECTS``.
    """

    device: str = "auto"
    precision: str = "auto"
    models_folder: str = ""
    first_model: str = "demo"
    results_mb: int = MOST_BYTES // MEGABYTE
    opacity: int = 80
    threshold: int = 0
    colours: str = OVERLAY_COLORMAPS[0]
    aspect: str = "true proportions"
    _source: Any = field(default=None, repr=False)

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()

    @property
    def runtime(self) -> Runtime:
        """Where and how the next run goes; for the folder, the environment goes first."""
        folder = "" if self.note_on_folder else self.models_folder.strip()
        return Runtime(self.device, self.precision, folder)

    @property
    def note_on_folder(self) -> str:
        """Why the folder of models in the settings does not count, in one sentence; empty if it does."""
        return FOLDER_IS_NAMED if os.environ.get(FOLDER_VARIABLE) else ""

    def follow_napari(self) -> str:
        """Take napari's settings over, now and whenever they change.

        Returns
        -------
        str
            One sentence if some cannot be used, and are at their defaults; else empty.
        """
        source, problem = _napari_settings()
        if source is self._source:
            return problem
        self.close()
        self._source = source
        if source is not None:
            for name, (group, key) in _KEYS.items():
                getattr(getattr(source, group).events, key).connect(self._take)
                self._set(name, getattr(getattr(source, group), key))
        return problem

    def remember(self, name: str, value: object) -> None:
        """Change a setting for good."""
        if self._source is None:
            self._set(name, value)
            return
        group, key = _KEYS[name]
        try:
            setattr(getattr(self._source, group), key, value)  # napari saves it and tells us
        except OSError as error:  # a read-only home: it holds until the viewer closes
            _logger.warning("napari could not save its settings: %s", error)
            self._set(name, value)

    def close(self) -> None:
        """Leave napari's settings alone."""
        source, self._source = self._source, None
        if source is not None:
            for group, key in _KEYS.values():
                getattr(getattr(source, group).events, key).disconnect(self._take)

    def _take(self, event: Any = None) -> None:
        for name, (group, key) in _KEYS.items():
            self._set(name, getattr(getattr(self._source, group), key))

    def _set(self, name: str, value: object) -> None:
        if getattr(self, name) != value:
            setattr(self, name, value)


def _napari_settings() -> tuple[Any, str]:
    """Settings of this plugin in napari, None if it has none, and a sentence on what is wrong with them."""
    from napari.settings import get_plugin_settings

    try:
        source = get_plugin_settings(PLUGIN)
    except KeyError:  # the dock is used without the plugin's manifest
        return None, ""
    except Exception as error:  # a file that napari cannot make sense of must not take the viewer
        _logger.warning("napari could not read the settings of its plugins: %s", error)
        return None, "The settings of napari's plugins cannot be read; defaults are used instead."
    return source, _refused(source)


def _refused(source: Any) -> str:
    """A sentence on the values in the settings' file that napari did not take."""
    path, written = source.config_path, None
    with suppress(OSError, ValueError, yaml.YAMLError):
        written = yaml.safe_load(path.read_text()) if path else None
    if not isinstance(written, dict):
        return ""
    titles = []
    for group, key in _KEYS.values():
        values, section = written.get(group, {}), getattr(source, group)
        if not isinstance(values, dict):
            values = {key: values}
        elsewhere = source.env_settings.get(group, {})  # an environment variable of napari's own
        if (
            key in values
            and key not in elsewhere
            and str(values[key]) != str(getattr(section, key))
        ):
            titles.append(type(section).model_fields[key].title)
    if not titles:
        return ""
    return (
        f"The settings' file {path.name} has values that cannot be used ({', '.join(titles)}); the defaults are used"
        " instead."
    )
