"""The contrast of the B-scans in a real viewer: by the exam, by the user, by the menu."""

from dataclasses import replace

import numpy as np
import pytest
from fakes import make_exam
from test_contrast import retina

from napari_octcube._contrast_memory import ContrastMemory
from octcube_core.exam import OCTVolume

pytestmark = pytest.mark.xvfb


def exam(scale=127, device="Dim device", dtype=np.uint8):
    values = (retina() * scale).astype(dtype)
    return replace(make_exam(), volume=OCTVolume(values, (0.12, 0.004, 0.012)), device=device)


def show(dock, qtbot, shown):
    dock.open_exam(lambda: shown, "an eye")
    qtbot.waitUntil(lambda: dock.session.exam is shown)
    qtbot.wait(30)  # the button follows
    return dock.scene.layer


@pytest.fixture
def opened(open_dock, qtbot):
    from napari_octcube._widgets.contrast_button import ContrastButton

    viewer, dock = open_dock()
    return viewer, dock, dock.findChild(ContrastButton)


def checked(button):
    button.menu().aboutToShow.emit()
    return [name for name in ("auto", "device", "full") if getattr(button, name).isChecked()]


def test_a_dim_exam_opens_bright(opened, qtbot):
    _, dock, button = opened
    layer = show(dock, qtbot, exam())
    assert layer.contrast_limits[1] < 130
    assert layer.contrast_limits_range[1] == 255  # there is room to go back
    assert checked(button) == ["auto"]


def test_what_the_user_sets_holds_for_the_next_exam_of_the_device(opened, qtbot):
    _, dock, button = opened
    layer = show(dock, qtbot, exam())
    automatic = layer.contrast_limits
    layer.contrast_limits = (20, 100)
    layer.gamma = 0.6
    assert checked(button) == ["device"]
    layer = show(dock, qtbot, exam(device="Other device"))
    assert tuple(layer.contrast_limits) == pytest.approx(tuple(automatic), abs=3)
    assert layer.gamma == 1.0
    layer = show(dock, qtbot, exam())
    assert tuple(layer.contrast_limits) == pytest.approx((20, 100))
    assert layer.gamma == pytest.approx(0.6)
    # in parts of the range: as well for one stored in 16 bits
    layer = show(dock, qtbot, exam(scale=127 * 257, dtype=np.uint16))
    assert tuple(layer.contrast_limits) == pytest.approx((20 * 257, 100 * 257))


def test_it_holds_the_next_day(opened, qtbot):
    viewer, dock, _ = opened
    show(dock, qtbot, exam()).contrast_limits = (20, 100)
    viewer.window.remove_dock_widget(dock)
    assert ContrastMemory().get("Dim device").limits((0, 255)) == pytest.approx((20, 100), abs=0.1)


def test_opening_exams_is_not_taken_for_a_choice(opened, qtbot):
    _, dock, button = opened
    for shown in (exam(), exam(200), exam(device="Other device"), exam(127 * 257, dtype=np.uint16)):
        show(dock, qtbot, shown)
    assert not button.device.isEnabled()
    assert dock.contrast.remembered is None


def test_the_menu(opened, qtbot):
    _, dock, button = opened
    assert not button.isEnabled()
    layer = show(dock, qtbot, exam())
    assert button.isEnabled()
    automatic = tuple(layer.contrast_limits)
    assert not button.device.isEnabled()
    assert button.device.text() == "Device preset (Dim device)"
    layer.contrast_limits = (20, 100)
    button.full.trigger()
    assert tuple(layer.contrast_limits) == (0, 255)
    assert checked(button) == ["full"]
    button.auto.trigger()
    assert tuple(layer.contrast_limits) == pytest.approx(automatic)
    assert checked(button) == ["auto"]
    button.device.trigger()  # neither of the two has changed it
    assert tuple(layer.contrast_limits) == pytest.approx((20, 100))
    button.forget.trigger()
    assert tuple(layer.contrast_limits) == pytest.approx(automatic)
    assert checked(button) == ["auto"]
    assert not button.device.isEnabled()


def test_the_eye_beside_has_its_own_device_s_contrast(opened, qtbot):
    _, dock, _ = opened
    show(dock, qtbot, exam(device="Other device")).contrast_limits = (30, 90)
    show(dock, qtbot, exam())
    dock.beside.show(exam(device="Other device"), "Beside")
    assert tuple(dock.beside.layer.contrast_limits) == pytest.approx((30, 90))


def test_a_closed_dock_notes_nothing(opened, qtbot):
    viewer, dock, _ = opened
    layer = show(dock, qtbot, exam())
    viewer.window.remove_dock_widget(dock)
    layer.contrast_limits = (20, 100)
    assert ContrastMemory().get("Dim device") is None
    assert dock.contrast.memory.get("Dim device") is None


def test_what_napari_sets_for_every_bscan_is_no_choice(opened, qtbot):
    viewer, dock, _ = opened
    layer = show(dock, qtbot, exam())
    layer.auto_contrast = True  # "continuous" among napari's controls
    viewer.dims.set_current_step(0, 2)
    layer.auto_contrast = False
    assert dock.contrast.remembered is None
    layer.contrast_limits = (20, 100)
    assert dock.contrast.remembered is not None


def test_the_exam_itself_stays_as_it_is(opened, qtbot):
    """Models, saliency and reports take their range from it."""
    _, dock, _ = opened
    shown = exam()
    before = shown.volume.voxels.copy()
    layer = show(dock, qtbot, shown)
    layer.contrast_limits = (20, 100)
    layer.gamma = 0.5
    assert shown.volume.black_white == (0, 255)
    np.testing.assert_array_equal(shown.volume.voxels, before)


def test_brightness_on_the_screen(open_dock, qtbot):
    """A dim exam is drawn brighter than from the file's black to its white."""
    viewer, dock = open_dock(show=True)
    show(dock, qtbot, exam(80))
    qtbot.wait(300)
    lit = viewer.screenshot(flash=False)[..., 0].astype(float)
    dock.contrast.full()
    qtbot.wait(300)
    dim = viewer.screenshot(flash=False)[..., 0].astype(float)
    assert lit.mean() > 1.3 * dim.mean()


def test_the_button_makes_the_dock_no_wider(opened, qtbot):
    """Else the tab Analysis would have to be scrolled sideways."""
    _, dock, button = opened
    unknown = replace(exam(), volume=OCTVolume(exam().volume.voxels))  # with the longest note
    show(dock, qtbot, unknown)
    width = button.parentWidget().minimumSizeHint().width()
    assert width <= dock.minimumWidth() - 16  # the tab's margins
