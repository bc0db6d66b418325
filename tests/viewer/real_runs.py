"""Small synthetic eyes and the model process with the shipped model, for tests of whole workflows."""

from qtpy.QtCore import Qt

from octcube_core import phantom

RUN_MS = 90_000  # torch and the model have to be loaded
NETWORK = "Running the network"


def eye(seed=3, diseases=("DME",), shape=(12, 64, 48)):
    """A synthetic eye which the demo model takes seconds for."""
    return phantom.make_exam(seed, shape=shape, diseases=diseases)


def show(dock, qtbot, exam):
    """Open an exam and wait until it is in view."""
    dock.open_exam(lambda: exam, "an eye")
    qtbot.waitUntil(lambda: dock.session.exam is exam)
    return exam


def press_run(dock, qtbot):
    """Press Run."""
    button = dock.analysis_tab.run_bar.run_button
    assert button.isEnabled()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert dock.session.running is not None


def run(dock, qtbot):
    """Press Run and wait for the end of the run."""
    press_run(dock, qtbot)
    qtbot.waitUntil(lambda: dock.session.running is None, timeout=RUN_MS)


def reach(dock, qtbot, stage=NETWORK):
    """Wait until the run is in a stage, and come back before it goes on."""
    if dock.session.stage != stage:
        with qtbot.waitCallback(timeout=RUN_MS) as reached:

            def hear(now):
                if now == stage:
                    dock.session.events.stage.disconnect(hear)
                    reached()

            dock.session.events.stage.connect(hear)


def sentence(dock):
    """What is said of the last failure; nothing if all is well."""
    label = dock.analysis_tab.run_bar.error_label
    return label.text().removeprefix("⚠ ") if label.isVisible() else ""


def assert_result(dock, exam):
    """The exam in view has scores and an overlay, and nothing is complained of."""
    assert sentence(dock) == ""
    assert dock.session.exam is exam
    assert dock.session.analysis.grid.volume_shape == exam.volume.shape
    assert dock.analysis_tab.score_table.rowCount() > 5
    assert dock.scene.overlay is not None
