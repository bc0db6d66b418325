"""Training needs the extra "train"."""

from __future__ import annotations

import pytest

pytest.importorskip("lightning", reason='needs pip install "napari-octcube[train]"')


@pytest.fixture(scope="session")
def small_store(tmp_path_factory):
    """Forty synthetic eyes at 12 x 64 x 64."""
    from train.data.phantoms import make_store

    folder = tmp_path_factory.mktemp("store") / "eyes"
    make_store(folder, count=40, size=(12, 64, 64), seed=5, workers=2)
    return folder


@pytest.fixture(scope="module")
def toy_store(tmp_path_factory):
    """A store that a toy of a task learns from within seconds."""
    from tests.train.toy_stage import make_toy_store

    folder = tmp_path_factory.mktemp("toy") / "store"
    make_toy_store(folder)
    return folder


@pytest.fixture(scope="module")
def runner():
    """Starts toy runs that can be killed."""
    from tests.train.killed_runs import Runner

    with Runner() as runner:
        yield runner
