import pytest
from superqt.utils import qimage_to_array

from napari_octcube._widgets.progress_line import ProgressLine

pytestmark = pytest.mark.xvfb
WIDTH = 200


@pytest.mark.parametrize("fraction", [0.0, 0.25, 1.0])
def test_it_is_filled_as_far_as_it_is_told(qtbot, fraction):
    line = ProgressLine()
    qtbot.addWidget(line)
    line.resize(WIDTH, 10)
    line.show()
    line.show_fraction(fraction)
    middle = qimage_to_array(line.grab().toImage())[5, :, :3].astype(int)
    blue = middle[:, 2] - middle[:, 0] > 100
    assert blue.mean() == pytest.approx(fraction, abs=0.04)
    assert blue[: int(fraction * WIDTH * 0.9)][5:].all()
