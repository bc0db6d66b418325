import numpy as np
import pytest
from fakes import make_exam, make_similarity
from PIL import Image
from qtpy.QtWidgets import QLabel
from superqt.utils import qimage_to_array

from napari_octcube._why_pictures import WhyPicture
from napari_octcube._widgets.why_dialog import WhyDialog
from octcube_core.results import DISCLAIMER

pytestmark = pytest.mark.xvfb
LEFT, RIGHT = (220, 40, 40), (40, 40, 220)


def picture(colour, caption):
    return WhyPicture(Image.new("RGB", (101, 60), colour), caption)  # rows of no whole words


def test_both_eyes_are_shown_with_captions_model_and_disclaimer(qtbot):
    analysis = make_similarity(make_exam(), 0.875)
    dialog = WhyDialog(analysis, [picture(LEFT, "B-scan 3")], [picture(RIGHT, "B-scan 9")])
    qtbot.addWidget(dialog)
    dialog.show()
    words = "\n".join(label.text() for label in dialog.findChildren(QLabel))
    for part in ("Similarity 0.875", "B-scan 3", "B-scan 9", analysis.card.title, DISCLAIMER):
        assert part in words
    pixels = qimage_to_array(dialog.grab().toImage())[..., :3].astype(int)
    places = {}
    for colour in (LEFT, RIGHT):
        rows, columns = np.nonzero(np.abs(pixels - colour).max(axis=-1) < 5)
        assert len(rows) == 101 * 60, "each picture whole"
        places[colour] = columns.mean()
    assert places[LEFT] < places[RIGHT]
