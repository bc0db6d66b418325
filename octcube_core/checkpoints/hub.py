"""From a model's name to its file: packaged, in the user's own folder, in Hugging Face's cache, or downloaded into it.

A file that is there is taken as it is, and nobody is asked for a newer one: a name gives the same weights, with or
without a network, until the user removes the file. Downloads are huggingface_hub's: its cache, its locks between
processes, its tokens, its offline mode; a file stands under its name only when it is whole.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from octcube_core.checkpoints.download_bar import OnProgress, gigabytes, progress_bar
from octcube_core.checkpoints.released import NAMES, PACKAGED, RELEASED
from octcube_core.errors import CheckpointError

FOLDER_VARIABLE = "OCTCUBE_MODELS"
_REMOTE = ("hf://", "https://", "http://")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Source:
    """A file in a model repository on Hugging Face.

    ``released`` says that it has a name of its own, ``gated`` that its authors give it only to whom they let in.
    """

    repository: str
    file: str
    revision: str | None = None
    released: bool = False
    gated: bool = False

    @property
    def page(self) -> str:
        """Where a person sees the repository."""
        return f"https://huggingface.co/{self.repository}"


def locate(name_or_path: str | os.PathLike[str], on_progress: OnProgress | None = None) -> Path:
    """Find a model's file, downloading it if it is on Hugging Face and nowhere on this computer.

    Parameters
    ----------
    name_or_path : str or path
        A model's name (``released.NAMES``), ``hf://user/repository/path/to/file`` with ``@revision`` after the file
        or the repository, the address of a file's page on huggingface.co, or the path of a file. Names are exact
        words: ``./octcube`` and ``Path("octcube")`` are paths.
    on_progress : callable, optional
        Called with a stage and the fraction downloaded, 0 to 1, maybe from another thread; what it raises ends the
        download. Without it, a terminal shows huggingface_hub's own bar.

    Returns
    -------
    Path
        Of a whole file.

    Raises
    ------
    CheckpointError
        If there is no such model or file, or it cannot be fetched: the sentence says how to get it by hand.
    """
    source = None
    if isinstance(name_or_path, str):
        source = _source(name_or_path)
        if (local := find_local(name_or_path)) is not None:
            return local
    if source is not None:
        return _download(source, on_progress)
    if isinstance(name_or_path, str) and name_or_path in PACKAGED:
        raise CheckpointError(
            f"The model {name_or_path} is missing from this installation ({PACKAGED[name_or_path]})."
        )
    if path := existing_file(name_or_path):
        return path
    names = ", ".join(NAMES)
    if _kind_of(name_or_path, Path.is_dir):
        raise CheckpointError(
            f"{name_or_path} is a folder; give a model file in it, or a model's name ({names})."
        )
    raise CheckpointError(
        f"There is no model or file {str(name_or_path)!r}; models by name: {names}."
    )


def existing_file(path: str | os.PathLike[str]) -> Path | None:
    """The file of a path, with ~ for the home folder; None if there is none, or no computer could have it."""
    return _kind_of(path, Path.is_file)


def _kind_of(path: str | os.PathLike[str], is_kind: Callable[[Path], bool]) -> Path | None:
    with suppress(OSError, RuntimeError):  # a name that is too long, the home of an unknown user
        path = Path(path).expanduser()
        return path if is_kind(path) else None
    return None


def is_address(name: str) -> bool:
    """Whether a name is an address, of Hugging Face or another."""
    return name.startswith(_REMOTE)


def find_local(name: str, folder: str = "") -> Path | None:
    """Where the file of a name or an ``hf://`` address already is; never asks the network.

    ``folder`` is the user's own folder of model files, if it is not that of ``models_folder``.
    """
    if name in PACKAGED:
        return PACKAGED[name] if PACKAGED[name].is_file() else None
    if model := RELEASED.get(name):
        place = Path(folder).expanduser() if folder else models_folder()
        for file in (model.file, *model.other_files):
            if (place / file).is_file():
                return place / file
    source = _source(name)
    if source is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(source.repository, source.file, revision=source.revision)
    return Path(found) if isinstance(found, str) else None


def models_folder() -> Path:
    """The user's own folder of model files: that of OCTCUBE_MODELS, else ``octcube-models`` in the home folder."""
    named = os.environ.get(FOLDER_VARIABLE)
    if not named:
        return Path.home() / "octcube-models"
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder} is not a folder; correct the folder of models in the viewer's settings, or {FOLDER_VARIABLE}."
        )
    return folder


def _source(name: str) -> Source | None:
    if model := RELEASED.get(name):
        return Source(model.repository, model.file, released=True, gated=model.gated)
    if not is_address(name):
        return None
    from huggingface_hub import parse_hf_uri
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        if "\\" in name or not name.isprintable():
            raise ValueError
        uri = parse_hf_uri(name)
        validate_repo_id(uri.id)
    except ValueError:
        uri = None
    file, revision = (uri.path_in_repo, uri.revision) if uri else ("", None)
    if revision is None and "@" in file:
        file, revision = file.split("@", 1)
    climbs = ".." in file.split("/") or ".." in (revision or "")
    if uri is None or uri.type != "model" or not file or revision == "" or climbs:
        raise CheckpointError(
            f"{name!r} is no address of a model file; write hf://user/repository/path/to/file, with @revision after it"
            " if it must be another than the newest."
        )
    return Source(uri.id, file, revision)


def _download(source: Source, on_progress: OnProgress | None) -> Path:
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, is_offline_mode

    where = source.repository, source.file
    if is_offline_mode():
        raise CheckpointError(
            f"{source.file} is not on this computer, and Hugging Face's offline mode (HF_HUB_OFFLINE) is on:"
            f" {_by_hand(source)}."
        )
    bar = progress_bar(Path(source.file).name, on_progress) if on_progress else None
    try:
        with _silent_hub():
            # Asked first and once: the download itself would retry for half a minute before it says "no network".
            size = get_hf_file_metadata(hf_hub_url(*where, revision=source.revision)).size
            _check_room(size, source)
            path = hf_hub_download(*where, revision=source.revision, tqdm_class=cast(Any, bar))
    except CheckpointError:
        raise
    except Exception as error:
        if bar is not None and bar.failure is not None:
            raise bar.failure from None
        raise CheckpointError(_sentence(error, source)) from error
    if bar is not None and bar.failure is not None:
        raise bar.failure  # a download in a thread of its own goes on to its end
    return Path(path)


def _cache_folder() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _check_room(size: int | None, source: Source) -> None:
    folder = _cache_folder()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if size is not None and size > free:
        raise CheckpointError(
            f"{source.file} takes {gigabytes(size)}, but {folder} has room for {gigabytes(free)} only; make room, or"
            " set HF_HOME to a folder on a larger disk."
        )


def _sentence(error: Exception, source: Source) -> str:
    """What went wrong and what to do, in one sentence."""
    from huggingface_hub import errors

    page, file = source.page, source.file
    if isinstance(error, errors.GatedRepoError):
        return (
            f"{file} is given only to those whom its authors let in: ask for access at {page} with a Hugging Face"
            " account, log in on this computer with 'hf auth login', and try again once access is granted."
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"There is no model repository {source.repository} on Hugging Face that this computer may see; check the"
            " name, or log in with 'hf auth login' if it is private."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{source.repository} has no revision {source.revision!r}; its revisions are at {page}/commits."
    if isinstance(error, errors.RemoteEntryNotFoundError):
        files = f"{page}/tree/{source.revision or 'main'}"
        return f"There is no file {file} in {source.repository}; its files are at {files}."
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        if status == 401:
            return "Hugging Face refuses the token in use; log in again with 'hf auth login'."
        return f"Hugging Face does not hand out {file} now (HTTP {status}): try again later, or {_by_hand(source)}."
    number = error.errno if isinstance(error, OSError) else None
    if number in _NO_ROOM:
        return (
            f"The disk is full, so {file} was not kept; make room in {_cache_folder()}, or set HF_HOME to a folder on a"
            " larger disk."
        )
    if number is not None and not isinstance(error, ConnectionError | TimeoutError):
        return (
            f"{file} cannot be written to {_cache_folder()} ({os.strerror(number)}); set HF_HOME to a folder that"
            " can be written to."
        )
    return (
        f"{file} is not on this computer, and the connection to Hugging Face failed ({type(error).__name__}):"
        f" {_by_hand(source)}."
    )


def _by_hand(source: Source) -> str:
    ask = ", once its authors have let you in there," if source.gated else ""
    fetch = f"download {source.file} from {source.page}{ask} where there is a connection"
    if not source.released:
        return f"{fetch}, and open the file itself"
    return (
        f"{fetch}, and put it under that name into the folder {models_folder()} (or another that {FOLDER_VARIABLE}"
        " names), or open the file itself"
    )


@contextmanager
def _silent_hub() -> Iterator[None]:
    """Keep huggingface_hub's log off the terminal: what matters of it comes as an error."""
    from huggingface_hub.utils import logging as hub_logging

    before = hub_logging.get_verbosity()
    hub_logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        hub_logging.set_verbosity(before)
