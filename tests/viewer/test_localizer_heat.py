"""Saliency on the fundus picture, as pixels on the screen, for every scan pattern."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from fakes import make_analysis
from qtpy.QtCore import QPointF
from superqt.utils import qimage_to_array

from napari_octcube import _heat_maker
from octcube_core.phantom import make_exam
from octcube_core.results import EnFaceSaliency
from octcube_core.token_grid import PatchGrid

pytestmark = pytest.mark.xvfb
PATTERNS = {
    "raster": ("raster", 0.0),
    "rotated raster": ("raster", 25.0),
    "radial": ("radial", 0.0),
    "circle": ("circle", 0.0),
    "line": ("line", 0.0),
}
TOKEN = (1, 2, 1)  # of 4 x 4 x 4


def eye(name="raster"):
    pattern, rotation = PATTERNS[name]
    bscans = 1 if pattern in ("circle", "line") else 12
    return make_exam(
        5, diseases=(), shape=(bscans, 96, 96), scan_pattern=pattern, rotation_deg=rotation
    )


def analysis_of(exam, token=TOKEN):
    """One token speaks for DME, another for AMD."""
    analysis = make_analysis(exam)
    saliency = np.zeros_like(analysis.saliency)
    layers = token[0] if exam.volume.shape[0] > 1 else slice(None)  # all lie on the one B-scan
    saliency[0, layers, *token[1:]] = 1.0
    saliency[1, 2, 2, 3] = 1.0
    return replace(analysis, saliency=saliency)


def analysed(localizer_tab, session, qtbot, exam):
    session.show_exam(exam)
    qtbot.waitUntil(lambda: not localizer_tab.view.fundus.picture.pixmap().isNull())
    session.finish(exam, analysis_of(exam))
    qtbot.waitUntil(lambda: has_heat(localizer_tab))


def has_heat(localizer_tab):
    return not localizer_tab.view.fundus.heat.pixmap().isNull()


def drawn(localizer_tab):
    return qimage_to_array(localizer_tab.view.viewport().grab().toImage())[..., :3].astype(int)


def heat_on_screen(localizer_tab, session):
    """How much the heat changes each pixel."""
    session.show_heat = True
    with_heat = drawn(localizer_tab)
    session.show_heat = False
    return np.abs(with_heat - drawn(localizer_tab)).max(axis=-1)


def around(localizer_tab, picture, place, radius=6):
    """Beside the line as well, which may hide what is below it."""
    point = localizer_tab.view.mapFromScene(QPointF(place[1] + 0.5, place[0] + 0.5))
    rows = slice(point.y() - radius, point.y() + radius + 1)
    return picture[rows, point.x() - radius : point.x() + radius + 1]


def places_of(exam, analysis, token):
    """(row, column) of a token's centre on the fundus, and of the place on the same line half of it further."""
    bscan, _, ascan = analysis.grid.voxel_of_token(token)
    line = exam.locations.polylines[round(max(bscan, 0))]
    reached = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    part = ascan / (exam.volume.shape[2] - 1)
    return [
        [np.interp(p * reached[-1], reached, line[:, axis]) for axis in (0, 1)]
        for p in (part, part + 0.5)
    ]


@pytest.mark.parametrize("name", PATTERNS)
def test_the_fundus_is_hot_where_the_volume_is(localizer_tab, session, qtbot, name):
    exam = eye(name)
    analysed(localizer_tab, session, qtbot, exam)
    session.go_to_bscan(exam.volume.shape[0] - 1)
    heat = heat_on_screen(localizer_tab, session)
    hot, cold = places_of(exam, session.analysis, TOKEN)
    assert around(localizer_tab, heat, hot).max() > 60
    assert around(localizer_tab, heat, cold).max() <= 2
    assert (heat > 20).mean() < 0.2  # the rest of the fundus is left as it is


def test_it_follows_the_disease_and_never_shows_that_of_another(
    localizer_tab, session, qtbot, monkeypatch
):
    exam = eye()
    make, gate = _heat_maker._heat, threading.Event()

    def slow(exam, analysis, index, target):
        if target == "AMD":
            gate.wait(20)
        return make(exam, analysis, index, target)

    monkeypatch.setattr(_heat_maker, "_heat", slow)
    analysed(localizer_tab, session, qtbot, exam)
    session.disease = "AMD"
    assert not has_heat(localizer_tab)
    gate.set()
    qtbot.waitUntil(lambda: has_heat(localizer_tab))
    heat = heat_on_screen(localizer_tab, session)
    other, _ = places_of(exam, session.analysis, TOKEN)
    hot, _ = places_of(exam, session.analysis, (2, 2, 3))
    assert around(localizer_tab, heat, other).max() <= 2
    assert around(localizer_tab, heat, hot).max() > 60
    session.show_heat = True
    session.disease = "DME"
    assert has_heat(localizer_tab)  # at once: it was made before


def test_opacity_threshold_and_colours_are_those_of_the_session(localizer_tab, session, qtbot):
    exam = eye()
    analysed(localizer_tab, session, qtbot, exam)
    session.overlay_opacity = 1.0
    plasma = drawn(localizer_tab)
    session.overlay_colormap = "viridis"
    viridis = drawn(localizer_tab)
    differs = np.abs(viridis - plasma).max(axis=-1)
    most = np.unravel_index(differs.argmax(), differs.shape)
    assert differs[most] > 60
    assert plasma[most][0] > plasma[most][1]  # red
    assert viridis[most][1] > viridis[most][0]  # green
    session.overlay_opacity = 0.0
    assert not heat_on_screen(localizer_tab, session).any()
    session.overlay_opacity, session.overlay_threshold = 1.0, 0.0
    everywhere = (np.abs(heat_on_screen(localizer_tab, session)) > 3).sum()
    session.overlay_threshold = 0.6
    core = (np.abs(heat_on_screen(localizer_tab, session)) > 3).sum()
    assert 0 < core < 0.5 * everywhere


def test_an_image_that_the_model_saw_has_its_own_heat(localizer_tab, session, qtbot):
    exam = eye()
    maps = np.zeros((3, 4, 4), np.float32)
    maps[0, 0, 3] = 1.0
    shape = exam.enface[1].shape
    grid = PatchGrid(shape, (64, 64), (64, 64), (16, 16))
    enface = {"FAF": EnFaceSaliency(maps, maps.max(axis=(1, 2)), grid)}
    session.show_exam(exam)
    session.finish(exam, replace(analysis_of(exam), enface=enface))
    localizer_tab.image_chooser.setCurrentText("FAF")
    assert localizer_tab.switches.heat_switch.text() == "Heat: DME in the FAF image"
    qtbot.waitUntil(lambda: has_heat(localizer_tab))
    heat = heat_on_screen(localizer_tab, session)
    corner = [0.125 * shape[0], 0.875 * shape[1]]
    assert around(localizer_tab, heat, corner).max() > 60
    assert around(localizer_tab, heat, [0.875 * shape[0], 0.125 * shape[1]]).max() <= 2


def test_why_there_is_no_heat_is_said(localizer_tab, session, qtbot):
    switch = localizer_tab.switches.heat_switch
    exam = eye()
    session.show_exam(exam)
    assert not switch.isEnabled()
    assert "run the analysis" in switch.toolTip()
    session.finish(exam, analysis_of(exam))
    assert switch.isEnabled()
    localizer_tab.image_chooser.setCurrentText("FAF")
    assert not switch.isEnabled()
    assert switch.text() == "Heat: none on this image"
    assert "has not seen this image" in switch.toolTip()
    assert not has_heat(localizer_tab)
    session.close_exam(exam)
    assert not has_heat(localizer_tab)


def test_many_radial_lines_never_stop_the_viewer(localizer_tab, session, qtbot, longest_stall):
    exam = make_exam(5, diseases=(), shape=(48, 96, 256), scan_pattern="radial")
    session.show_exam(exam)
    qtbot.waitUntil(lambda: not localizer_tab.view.fundus.picture.pixmap().isNull())
    analysis = analysis_of(exam)
    qtbot.wait(100)
    longest_stall()
    session.finish(exam, analysis)
    qtbot.waitUntil(lambda: has_heat(localizer_tab))
    qtbot.wait(50)
    assert longest_stall()[1] < 0.05
