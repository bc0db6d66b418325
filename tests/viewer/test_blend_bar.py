"""Two fundus images over each other."""

from dataclasses import replace

import numpy as np
import pytest
from fakes import make_exam
from qtpy.QtCore import QPointF
from superqt.utils import qimage_to_array

from octcube_core.exam import EnFaceImage

pytestmark = pytest.mark.xvfb
SPACING_MM = (0.02, 0.02)


def image(modality, level, shape=(64, 64), spacing_mm=SPACING_MM):
    return EnFaceImage(np.full(shape, level, np.uint8), modality, spacing_mm)


IR, FAF = image("IR", 40), image("FAF", 200)


def grey(localizer_tab):
    drawn = qimage_to_array(localizer_tab.view.viewport().grab().toImage())[..., :3].astype(int)
    at = localizer_tab.view.mapFromScene(QPointF(50, 10))
    return drawn[at.y(), at.x()].mean()


def show(localizer_tab, session, qtbot, *images):
    session.show_exam(replace(make_exam(), enface=images))
    qtbot.waitUntil(lambda: not localizer_tab.view.fundus.picture.pixmap().isNull())


def test_the_slider_goes_from_one_image_to_the_other(localizer_tab, session, qtbot):
    show(localizer_tab, session, qtbot, IR, FAF)
    bar = localizer_tab.blend_bar
    assert not bar.slider.isEnabled()
    assert grey(localizer_tab) == pytest.approx(40, abs=1)
    bar.chooser.setCurrentText("FAF")
    assert bar.slider.isEnabled()
    qtbot.waitUntil(lambda: not localizer_tab.view.fundus.blended.pixmap().isNull())
    for percent, expected in ((50, 120), (0, 40), (100, 200), (25, 80)):
        bar.slider.setValue(percent)
        assert grey(localizer_tab) == pytest.approx(expected, abs=3)
    bar.chooser.setCurrentIndex(0)
    assert grey(localizer_tab) == pytest.approx(40, abs=1)


def test_another_image_below_begins_without_blending(localizer_tab, session, qtbot):
    show(localizer_tab, session, qtbot, IR, FAF)
    localizer_tab.blend_bar.chooser.setCurrentText("FAF")
    qtbot.waitUntil(lambda: not localizer_tab.view.fundus.blended.pixmap().isNull())
    localizer_tab.image_chooser.setCurrentText("FAF")
    assert localizer_tab.blend_bar.chooser.currentText() == "nothing"
    assert grey(localizer_tab) == pytest.approx(200, abs=1)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (image("FAF", 200, (32, 64)), "FAF has another number of pixels"),
        (image("FAF", 200, spacing_mm=(0.02, 0.03)), "FAF has another scale"),
        (image("FAF", 200, spacing_mm=(None, None)), "FAF has an unknown scale"),
    ],
)
def test_why_two_images_cannot_be_blended_is_said(localizer_tab, session, qtbot, other, reason):
    show(localizer_tab, session, qtbot, IR, other)
    assert reason in localizer_tab.blend_bar.reason.text()
    assert localizer_tab.blend_bar.reason.isVisible()
    assert not localizer_tab.blend_bar.chooser.isVisible()


def test_one_image_needs_no_blending(localizer_tab, session, qtbot):
    show(localizer_tab, session, qtbot, IR)
    assert not localizer_tab.blend_bar.isVisible()
