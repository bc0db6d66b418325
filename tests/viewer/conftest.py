import os
import queue
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.append(str(HERE))  # for fakes.py, which the fake model process imports as well

PATIENCE_S = 20
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


class Owner:
    """Stands for the Qt thread: runs what other threads hand over."""

    def __init__(self):
        self._calls = queue.SimpleQueue()

    def __call__(self, function):
        self._calls.put(function)

    def run_until(self, condition, timeout=PATIENCE_S):
        end = time.monotonic() + timeout
        while not condition():
            try:
                self._calls.get(timeout=max(0.01, end - time.monotonic()))()
            except queue.Empty:
                pytest.fail("What was waited for did not happen in time.")

    def run_until_true(self, condition, timeout=PATIENCE_S):
        """For what other threads do without a word to this one."""
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, "What was waited for did not happen in time."
            self.run_for(0.01)

    def run_for(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.run_pending()
            time.sleep(0.005)

    def run_pending(self):
        while not self._calls.empty():
            self._calls.get()()


@pytest.fixture(autouse=True)
def own_configuration(tmp_path, monkeypatch):
    """Salts and what the viewer remembers, away from those of whoever runs the tests."""
    monkeypatch.setenv("OCTCUBE_CONFIG", str(tmp_path / "configuration"))
    monkeypatch.setenv("OCTCUBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NAPARI_CONFIG", str(tmp_path / "napari.yaml"))  # of viewers in a process
    monkeypatch.delenv("OCTCUBE_MODELS", raising=False)


@pytest.fixture
def owner():
    return Owner()


@pytest.fixture
def needs_pixels():
    """For tests that draw in a process of their own."""
    if reason := why_no_pixels():
        pytest.skip(reason)


@pytest.fixture
def fake_worker():
    return FAKE_WORKER


@pytest.fixture
def open_dock(make_napari_viewer, plugin_settings, fake_worker, qtbot):
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
def session():
    from napari_octcube._session import Session

    return Session()


@pytest.fixture
def similar(session, owner, fake_worker):
    """What the tab of similar eyes acts with, without a tab."""
    from napari_octcube._inference import InferenceClient
    from napari_octcube._similar import SimilarEyes

    client = InferenceClient(session, owner, fake_worker)
    similar = SimilarEyes(session, client, owner)
    yield similar
    similar.close()
    client.close()


@pytest.fixture
def localizer_tab(session, qtbot):
    """The tab by itself, shown."""
    from napari_octcube._widgets.localizer_tab import LocalizerTab

    tab = LocalizerTab(session)
    qtbot.addWidget(tab)
    tab.resize(380, 600)
    tab.show()
    qtbot.waitExposed(tab)
    return tab


@pytest.fixture
def analysed(open_dock, qtbot):
    """(viewer, dock) with an exam whose saliency is shown on the canvas."""
    from fakes import make_analysis, make_exam

    viewer, dock = open_dock(show=True)
    viewer.window.resize(1366, 768)
    exam = make_exam(bright=(17, 70, 40))
    dock.scene.add_exam(exam)
    dock.session.finish(exam, make_analysis(exam))
    qtbot.wait(300)
    return viewer, dock


@pytest.fixture
def archive_tab(open_dock, qtbot, tmp_path):
    """(viewer, dock, state) with the tab of similar eyes in front and a small archive open."""
    from archives import make_archive

    viewer, dock = open_dock(show=True)
    viewer.window.resize(1366, 768)
    dock.setCurrentWidget(dock.similar_tab)
    dock.similar.open_archive(make_archive(tmp_path))
    state = dock.similar.state
    qtbot.waitUntil(lambda: state.archive is not None, timeout=20_000)
    return viewer, dock, state


@pytest.fixture
def longest_stall(qtbot):
    """A function that tells for how long the event loop stood still at most since it was called last.

    (seconds by the clock, seconds in which this thread computed); the latter do not depend on what else runs here.
    """
    from qtpy.QtCore import QTimer

    timer = QTimer()
    timer.setInterval(0)
    clocks = (time.perf_counter, time.thread_time)
    longest, last = [0.0, 0.0], [clock() for clock in clocks]

    def tick():
        for index, clock in enumerate(clocks):
            now = clock()
            longest[index] = max(longest[index], now - last[index])
            last[index] = now

    def read():
        tick()
        result, longest[:] = tuple(longest), [0.0, 0.0]
        return result

    timer.timeout.connect(tick)
    timer.start()
    yield read
    timer.stop()


@pytest.fixture
def plugin(plugin_settings, npe2pm):
    """npe2 with this plugin's manifest alone."""
    from npe2 import PluginManifest

    manifest = PluginManifest.from_file(HERE.parents[1] / "napari.yaml")
    npe2pm.register(manifest)
    return manifest


@pytest.fixture
def preferences(plugin):
    """napari's settings of this plugin, which the Preferences dialog edits."""
    from napari.settings import get_plugin_settings

    return get_plugin_settings("napari-octcube")


@pytest.fixture
def settings(preferences):
    """What the viewer makes of them."""
    from napari_octcube._settings import Settings

    settings = Settings()
    assert settings.follow_napari() == ""
    yield settings
    settings.close()
