import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.append(str(HERE))  # for fakes.py, which the fake model process imports as well

FAKE_WORKER = (sys.executable, str(HERE / "fake_worker.py"))


def why_no_pixels():
    """Why nothing could be drawn here, or None."""
    if os.environ.get("QT_QPA_PLATFORM", "").startswith(("offscreen", "minimal")):
        return "QT_QPA_PLATFORM=offscreen draws a blank canvas and proves nothing; use xvfb-run"
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        return "there is no display; use xvfb-run"
    return None


def pytest_collection_modifyitems(items):
    reason = why_no_pixels()
    if reason is None:
        return
    for item in items:
        if "qtbot" in item.fixturenames and HERE in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def needs_pixels():
    """For tests that draw in a process of their own."""
    if reason := why_no_pixels():
        pytest.skip(reason)


@pytest.fixture
def fake_worker():
    return FAKE_WORKER


@pytest.fixture
def open_dock(make_napari_viewer, fake_worker, qtbot):
    """A function that makes a viewer with the dock in it, talking to the fake model process."""
    from napari.utils._proxies import PublicOnlyProxy

    from napari_octcube._widgets.dock import OCTCubeDock

    docks = []

    def opener(worker_command=fake_worker, **options):
        viewer = make_napari_viewer(**options)
        dock = OCTCubeDock(PublicOnlyProxy(viewer), worker_command)  # what napari gives a plugin
        viewer.window.add_dock_widget(dock, name="OCTCube", area="right")
        docks.append(dock)
        return viewer, dock

    yield opener
    for dock in docks:
        dock.client.close()


@pytest.fixture
def plugin(npe2pm):
    """npe2 with this plugin's manifest alone."""
    from npe2 import PluginManifest

    manifest = PluginManifest.from_file(HERE.parents[1] / "napari.yaml")
    npe2pm.register(manifest)
    return manifest
