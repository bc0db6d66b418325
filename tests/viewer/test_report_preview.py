import numpy as np
import pytest
from qtpy.QtCore import Qt
from superqt.utils import qimage_to_array

from napari_octcube._widgets.report_preview import ReportPreview, ReportWindow

pytestmark = pytest.mark.xvfb
RED, BLUE = (200, 0, 0), (0, 0, 200)


def page():
    """Red above, blue below, as high as A4."""
    pixels = np.empty((297, 210, 3), np.uint8)
    pixels[:150], pixels[150:] = RED, BLUE
    return pixels


@pytest.fixture
def preview(qtbot):
    preview = ReportPreview()
    qtbot.addWidget(preview)
    preview.resize(400, 300)
    preview.show()
    qtbot.waitExposed(preview)
    return preview


def drawn(widget):
    return qimage_to_array(widget.grab().toImage())[..., :3].astype(int)


def test_the_whole_page_is_drawn_in_the_middle(preview):
    preview.show_page(page(), "")
    pixels, rect = drawn(preview), preview.page_rect().toRect()
    assert rect.height() >= 296
    column = rect.center().x()
    assert column == pytest.approx(200, abs=1)
    assert np.abs(pixels[rect.top() + 10, column] - RED).max() < 5
    assert np.abs(pixels[rect.bottom() - 10, column] - BLUE).max() < 5
    beside = pixels[:, : rect.left() - 2]
    assert np.ptp(beside.reshape(-1, 3), axis=0).max() == 0


def test_without_a_page_it_says_why_and_nothing_can_be_enlarged(preview, qtbot):
    blank = drawn(preview)
    preview.show_page(None, "Open an exam first.")
    assert (drawn(preview) != blank).any()
    with qtbot.assertNotEmitted(preview.enlarged):
        qtbot.mouseClick(preview, Qt.MouseButton.LeftButton)
        qtbot.keyClick(preview, Qt.Key.Key_Return)


@pytest.mark.parametrize("key", [Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space])
def test_keys_and_a_click_enlarge(preview, qtbot, key):
    preview.show_page(page(), "")
    with qtbot.waitSignal(preview.enlarged):
        qtbot.keyClick(preview, key)
    with qtbot.waitSignal(preview.enlarged):
        qtbot.mouseClick(preview, Qt.MouseButton.LeftButton)
    with qtbot.assertNotEmitted(preview.enlarged):
        qtbot.mouseClick(preview, Qt.MouseButton.RightButton)


def test_the_window_shows_the_page_and_fits_the_screen(preview, qtbot):
    preview.show_page(page(), "")
    window = ReportWindow(preview.image)
    qtbot.addWidget(window)
    window.show()
    assert window.width() <= window.screen().availableGeometry().width()
    pixels = drawn(window)
    assert (np.abs(pixels - RED).max(axis=-1) < 5).sum() > 10_000
