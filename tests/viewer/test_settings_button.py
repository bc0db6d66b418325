"""The way to the settings in the dock, with napari's real Preferences dialog."""

import pytest
import yaml
from fakes import make_analysis, make_exam
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QFileDialog,
    QGroupBox,
    QLabel,
    QListWidget,
    QMessageBox,
    QPushButton,
    QSpinBox,
)

from napari_octcube._widgets.settings_button import SettingsButton, in_words

PATIENCE_MS = 20_000


@pytest.fixture
def dock(preferences, open_dock):
    """A dock whose settings are those of napari."""
    viewer, dock = open_dock(show=True)
    viewer.window.resize(1366, 768)
    return dock


@pytest.fixture
def button(dock):
    return dock.findChild(SettingsButton)


@pytest.fixture
def dialog(button, qtbot):
    button.open_action.trigger()
    (found,) = (
        window
        for window in QApplication.topLevelWidgets()
        if window.windowTitle() == "Preferences" and window.isVisible()
    )
    yield found
    found.reject()


def row(dialog, title, kind):
    """The widget beside a label on the page in front."""
    page = dialog.findChild(QListWidget, "Preferences").currentRow()
    shown = dialog._stack.widget(page)
    (label,) = (each for each in shown.findChildren(QLabel) if each.text() == title)
    form = label.parentWidget().layout()
    widget = form.labelForField  # a QFormLayout
    (field,) = (each for each in shown.findChildren(kind) if widget(each) is label)
    return field


def press(dialog, text):
    (button,) = (each for each in dialog.findChildren(QPushButton) if each.text() == text)
    button.click()


def keep(dock, qtbot):
    exam = make_exam()
    dock.scene.add_exam(exam)
    dock.session.begin(exam)
    dock.session.finish(exam, make_analysis(exam))
    qtbot.waitUntil(lambda: dock.recall.cache.size > 0, timeout=PATIENCE_MS)


def test_preferences_open_at_our_page(dialog):
    pages = dialog.findChild(QListWidget, "Preferences")
    assert pages.currentItem().text() == "OCTCube"
    shown = dialog._stack.currentWidget()
    assert [box.title() for box in shown.findChildren(QGroupBox) if box.isVisible()] == [
        "Running a model",
        "Results kept",
        "Overlay",
        "B-scan",
    ]
    for title, kind in (("Device", QComboBox), ("Opacity (%)", QSpinBox)):
        assert row(dialog, title, kind).toolTip()


def test_a_change_shows_at_once_and_ok_keeps_it(dialog, dock, preferences):
    row(dialog, "Opacity (%)", QSpinBox).setValue(30)
    row(dialog, "Colours", QComboBox).setCurrentText("cividis")
    row(dialog, "At most (MB)", QComboBox).setCurrentText("250")
    assert dock.session.overlay_opacity == 0.3
    assert dock.analysis_tab.overlay_bar.opacity_slider.value() == 30
    assert dock.session.overlay_colormap == "cividis"
    assert dock.settings.results_mb == 250
    press(dialog, "OK")
    assert yaml.safe_load(preferences.config_path.read_text()) == {
        "overlay": {"opacity": 30, "colours": "cividis"},
        "results": {"megabytes": 250},
    }


def test_cancel_takes_a_change_back(dialog, dock):
    row(dialog, "Opacity (%)", QSpinBox).setValue(30)
    press(dialog, "Cancel")
    assert dock.session.overlay_opacity == 0.8


def test_restored_defaults_show_at_once(dialog, dock, preferences, monkeypatch):
    monkeypatch.setattr(
        QMessageBox, "question", lambda *_: QMessageBox.StandardButton.RestoreDefaults
    )
    preferences.overlay.opacity = 30
    preferences.model.precision = "fp32"
    press(dialog, "Restore defaults")
    assert dock.session.overlay_opacity == 0.8
    assert dock.settings.precision == "auto"


def test_the_next_dock_begins_as_set(preferences, open_dock):
    preferences.model.first = "demo-ga"
    preferences.overlay.threshold = 40
    _, dock = open_dock()
    assert dock.session.model == "demo-ga"
    assert dock.analysis_tab.model_chooser.currentData() == "demo-ga"
    assert dock.session.overlay_threshold == 0.4


def test_the_aspect_switch_is_remembered(dock, open_dock):
    dock.scene.add_exam(make_exam())
    dock.analysis_tab.aspect_switch.buttons["px"].click()
    _, another = open_dock()
    assert another.session.aspect == "px"


def test_a_device_that_is_not_here_is_said_beside_the_settings(dock, preferences, qtbot):
    bar = dock.analysis_tab.run_bar
    qtbot.waitUntil(lambda: "Fake GPU" in bar.device_label.text(), timeout=PATIENCE_MS)
    preferences.model.device = "mps"
    qtbot.waitUntil(bar.error_label.isVisible, timeout=PATIENCE_MS)
    assert bar.error_label.text() == "⚠ This computer has no device 'mps'; use cpu or auto."
    assert bar.device_label.text() == "Runs on: mps, which cannot be used here"


def test_bad_values_are_said_when_the_dock_opens(preferences, open_dock):
    from napari import settings

    preferences.config_path.write_text("model: {device: toaster}")
    settings._clear_plugin_settings_cache()
    _, dock = open_dock()
    assert "values that cannot be used (Device)" in dock.analysis_tab.run_bar.error_label.text()


@pytest.mark.parametrize("answer", ["Yes", "No"])
def test_results_are_forgotten_once_confirmed(dock, button, qtbot, monkeypatch, answer):
    keep(dock, qtbot)
    monkeypatch.setattr(
        QMessageBox, "question", lambda *_: getattr(QMessageBox.StandardButton, answer)
    )
    button.menu().aboutToShow.emit()
    qtbot.waitUntil(lambda: "MB" in button.forget_action.text(), timeout=PATIENCE_MS)
    assert button.forget_action.text() == "Forget all results (0.1 MB)"
    button.forget_action.trigger()
    if answer == "No":
        qtbot.wait(300)
        assert dock.recall.cache.size > 0
        return
    qtbot.waitUntil(lambda: dock.recall.cache.size == 0, timeout=PATIENCE_MS)
    button.menu().aboutToShow.emit()
    qtbot.waitUntil(lambda: not button.forget_action.isEnabled(), timeout=PATIENCE_MS)
    assert "none" in button.forget_action.text()


def test_the_folder_of_models_is_chosen(button, preferences, monkeypatch):
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: "/weights")
    button.folder_action.trigger()
    assert preferences.model.folder == "/weights"
    button.menu().aboutToShow.emit()
    assert "/weights" in button.folder_action.toolTip()


def test_a_folder_that_the_environment_names_is_said(button, monkeypatch):
    monkeypatch.setenv("OCTCUBE_MODELS", "/shared")
    button.menu().aboutToShow.emit()
    assert not button.folder_action.isEnabled()
    assert "OCTCUBE_MODELS" in button.folder_action.toolTip()


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "none"), (1000, "0.1 MB"), (12_345_678, "12.3 MB"), (2_500_000_000, "2.5 GB")],
)
def test_sizes_in_words(size, words):
    assert in_words(size) == words
