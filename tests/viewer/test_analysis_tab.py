import dataclasses
import time

import numpy as np
import pytest
from fakes import make_analysis, make_exam
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QLabel

from napari_octcube._widgets.model_chooser import OPEN_FILE
from octcube_core.results import Measurement

PATIENCE_MS = 20_000


@pytest.fixture
def dock(open_dock):
    _, dock = open_dock(show=True)
    return dock


def run(dock, qtbot, model="demo"):
    dock.session.model = model
    tab = dock.analysis_tab
    qtbot.mouseClick(tab.run_bar.run_button, Qt.MouseButton.LeftButton)
    assert dock.session.running is not None
    qtbot.waitUntil(lambda: dock.session.running is None, timeout=PATIENCE_MS)


def visible_text(dock):
    return "\n".join(label.text() for label in dock.findChildren(QLabel) if label.isVisible())


def test_without_an_exam_the_dock_says_how_to_open_one(dock):
    assert "No exam open" in visible_text(dock)
    assert not dock.analysis_tab.run_bar.run_button.isEnabled()


def test_facts_of_the_exam_are_shown(dock):
    dock.scene.add_exam(make_exam())
    text = visible_text(dock)
    for fact in (
        "OD (right)",
        "20 B-scans of 160 × 96 px",
        "120 × 4 × 12 µm",
        "OCT, IR",
        "Test device",
    ):
        assert fact in text


def test_unknown_spacing_is_said_and_the_aspect_cannot_switch(dock):
    dock.scene.add_exam(make_exam(spacing_mm=(None, None, None)))
    assert "spacing unknown" in visible_text(dock)
    switch = dock.analysis_tab.aspect_switch
    assert not switch.isEnabled()
    assert switch.buttons["px"].isChecked()


def test_one_click_switches_the_aspect(dock, qtbot):
    dock.scene.add_exam(make_exam())
    switch = dock.analysis_tab.aspect_switch
    qtbot.mouseClick(switch.buttons["px"], Qt.MouseButton.LeftButton)
    assert dock.session.aspect == "px"
    assert "depth ×3.0" in visible_text(dock)


def test_run_shows_scores_model_and_disclaimer(dock, qtbot):
    dock.scene.add_exam(make_exam())
    run(dock, qtbot)
    text = visible_text(dock)
    assert "fake 1.0 (synthetic)" in text
    assert "Research use only; not for diagnosis" in text
    assert "Overlay: evidence for Diabetic macular edema" in text
    assert dock.analysis_tab.score_table.rowCount() == 4


def finish(dock, **changes):
    exam = dock.session.exam
    dock.session.finish(exam, dataclasses.replace(make_analysis(exam), **changes))


def test_what_raises_a_measurement_is_shown_with_the_method(dock):
    dock.scene.add_exam(make_exam())
    similarity = Measurement("Similarity of OCT and IR", "OCT~IR", 0.3125)
    growth = Measurement("Growth of the atrophy", "GA growth", 1.5, "mm²/year")
    finish(
        dock,
        scores=(),
        normal_probability=None,
        measurements=(similarity, growth),
        saliency=make_analysis(dock.session.exam).saliency[[0, 2]],
    )
    assert "Overlay: what raises “Similarity of OCT and IR”" in visible_text(dock)
    assert "Grad-CAM++" in dock.analysis_tab.overlay_note.toolTip()
    dock.session.disease = "GA growth"
    assert "Overlay: none, as nothing raises “Growth of the atrophy”" in visible_text(dock)
    dock.session.disease = None
    assert "Select a row to see where the model looked." in visible_text(dock)


def test_a_model_without_scores_says_so(dock):
    dock.scene.add_exam(make_exam())
    finish(
        dock,
        scores=(),
        normal_probability=None,
        saliency=np.zeros((0, 1, 1, 1), np.float32),
        embeddings={"IR": np.zeros(8, np.float32)},
    )
    text = visible_text(dock)
    assert "This model gives no scores and so no overlay, only an embedding of IR." in text
    assert "fake 1.0 (synthetic)" in text
    assert dock.analysis_tab.score_table.isHidden()


def test_what_the_run_did_otherwise_is_shown(dock):
    dock.scene.add_exam(make_exam())
    finish(dock, run_notes=("Memory ran out; ran in bf16.",), warnings=("A warning.",))
    text = visible_text(dock)
    assert "Memory ran out; ran in bf16." in text
    assert "⚠ A warning." in text


def test_device_is_always_shown(dock, qtbot):
    label = dock.analysis_tab.run_bar.device_label
    assert label.isVisible()
    qtbot.waitUntil(lambda: label.text() == "Runs on: Fake GPU", timeout=PATIENCE_MS)


@pytest.mark.parametrize("tab", ["analysis_tab", "report_tab"])
def test_run_and_cancel_by_key_whichever_tab_is_in_front(dock, qtbot, tab):
    dock.setCurrentWidget(getattr(dock, tab))
    dock.scene.add_exam(make_exam())
    dock.session.model = "endless"
    dock.window().activateWindow()
    qtbot.waitUntil(lambda: QApplication.activeWindow() is not None)
    qtbot.keyClick(dock, Qt.Key.Key_F5)
    assert dock.session.running is not None
    bar = dock.analysis_tab.run_bar
    qtbot.waitUntil(lambda: bar.stage_label.text() == "Looking at the eye", timeout=PATIENCE_MS)
    assert bar.progress_bar.value() == 500
    qtbot.keyClick(dock, Qt.Key.Key_F5, Qt.KeyboardModifier.ShiftModifier)
    start = time.monotonic()
    qtbot.waitUntil(lambda: dock.session.running is None, timeout=PATIENCE_MS)
    assert time.monotonic() - start < 1.0
    assert bar.run_button.isEnabled()


def test_failure_is_shown_until_the_next_run(dock, qtbot):
    dock.scene.add_exam(make_exam())
    run(dock, qtbot, "missing")
    assert "There is no model called 'missing'." in visible_text(dock)
    run(dock, qtbot)
    assert "missing" not in visible_text(dock)


def test_bad_path_is_one_sentence(dock, qtbot, tmp_path):
    dock.open_path(tmp_path / "nowhere")
    assert "Opening nowhere" in visible_text(dock)
    qtbot.waitUntil(lambda: dock.session.error != "", timeout=PATIENCE_MS)
    assert "nowhere" in dock.session.error
    assert "Opening" not in visible_text(dock)


def test_model_file_is_chosen_and_remembered(dock, monkeypatch, tmp_path):
    path = str(tmp_path / "mine.safetensors")
    monkeypatch.setattr(
        "napari_octcube._widgets.model_chooser.QFileDialog.getOpenFileName",
        lambda *_: (path, ""),
    )
    chooser = dock.analysis_tab.model_chooser
    chooser.activated.emit(chooser.findText(OPEN_FILE))
    assert dock.session.model == path
    assert chooser.currentText() == "mine.safetensors"


def test_cancelled_file_dialog_leaves_the_model(dock, monkeypatch):
    monkeypatch.setattr(
        "napari_octcube._widgets.model_chooser.QFileDialog.getOpenFileName", lambda *_: ("", "")
    )
    chooser = dock.analysis_tab.model_chooser
    chooser.activated.emit(chooser.findText(OPEN_FILE))
    assert dock.session.model == "demo"
    assert chooser.currentData() == "demo"


def test_dock_fits_a_small_screen(dock, qtbot):
    dock.scene.add_exam(make_exam())
    run(dock, qtbot)
    window = dock.window()
    window.resize(1366, 768)
    qtbot.wait(50)
    area = dock.analysis_tab.scroll_area
    assert not area.horizontalScrollBar().isVisible()
    assert not area.verticalScrollBar().isVisible()


def test_closing_the_viewer_ends_the_model_process(
    make_napari_viewer, plugin_settings, fake_worker, qtbot
):
    from napari_octcube._widgets.dock import OCTCubeDock

    viewer = make_napari_viewer()
    dock = OCTCubeDock(viewer, fake_worker)
    viewer.window.add_dock_widget(dock, name="OCTCube")
    client = dock.client
    session = dock.session
    qtbot.waitUntil(lambda: session.device != "", timeout=PATIENCE_MS)
    del dock
    viewer.close()
    qtbot.waitUntil(lambda: client.pid is None, timeout=PATIENCE_MS)


def test_dock_closed_and_reopened(make_napari_viewer, plugin, monkeypatch, fake_worker, qtbot):
    from napari_octcube._widgets.dock import OCTCubeDock

    monkeypatch.setattr(OCTCubeDock.__init__, "__defaults__", (fake_worker,))
    viewer = make_napari_viewer(show=True)
    holder, dock = viewer.window.add_plugin_dock_widget("napari-octcube", "OCTCube")
    exam = make_exam()
    dock.scene.add_exam(exam)
    dock.session.finish(exam, make_analysis(exam))
    client = dock.client
    del dock
    holder.destroyOnClose()
    del holder
    qtbot.waitUntil(lambda: client.pid is None, timeout=PATIENCE_MS)
    viewer.layers.selection.active = viewer.layers[0]  # nobody of the old dock hears it
    _, dock = viewer.window.add_plugin_dock_widget("napari-octcube", "OCTCube")
    assert dock.session.exam is exam
    assert [layer.name for layer in viewer.layers] == ["OCT"]
    dock.client.close()


def test_the_number_of_the_bscan_in_view_is_shown(dock):
    dock.scene.add_exam(make_exam())
    dock.session.go_to_bscan(16)
    assert "17 of 20" in visible_text(dock)


def test_a_circle_scan_is_drawn_to_scale(dock):
    dock.scene.add_exam(make_exam((1, 96, 160), (None, 0.004, 0.012), (0, 1, 1)))
    assert "4 µm in depth, 12 µm in width" in visible_text(dock)
    switch = dock.analysis_tab.aspect_switch
    assert switch.isEnabled()
    assert switch.buttons["um"].isChecked()


def test_long_facts_do_not_widen_the_dock(dock, qtbot):
    dock.scene.add_exam(make_exam(spacing_mm=(None, 0.00387, None)))
    dock.window().resize(1366, 768)
    qtbot.wait(50)
    assert dock.open_button.isVisible()
    assert not dock.analysis_tab.scroll_area.horizontalScrollBar().isVisible()


def test_released_models_are_chosen_by_name_and_say_that_they_are_downloaded(dock):
    chooser = dock.analysis_tab.model_chooser
    index = chooser.findData("octcube-multitask")
    assert "downloaded on first use" in chooser.itemData(index, Qt.ItemDataRole.ToolTipRole)
    chooser.activated.emit(index)
    assert dock.session.model == "octcube-multitask"
    assert chooser.currentText() == "octcube-multitask"


def test_results_are_brought_into_view_on_a_small_screen(dock, qtbot):
    tab, window = dock.analysis_tab, dock.window()
    window.resize(1000, 560)
    dock.scene.add_exam(make_exam())

    def is_in_view():
        qtbot.wait(50)
        port = tab.scroll_area.viewport()
        bottom = tab.overlay_bar.mapTo(port, tab.overlay_bar.rect().bottomLeft()).y()
        return bottom <= port.height()

    finish(dock)
    assert tab.scroll_area.verticalScrollBar().maximum() > 0
    assert is_in_view()
    tab.scroll_area.verticalScrollBar().setValue(0)
    dock.setCurrentWidget(dock.localizer_tab)
    finish(dock)
    dock.setCurrentWidget(tab)  # they came meanwhile
    assert is_in_view()
    tab.scroll_area.verticalScrollBar().setValue(0)
    dock.setCurrentWidget(dock.localizer_tab)
    dock.setCurrentWidget(tab)  # nothing new: it stays as it was left
    assert not is_in_view()
