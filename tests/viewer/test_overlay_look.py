"""How the overlay looks on a real canvas, and that switching the disease takes no time a user would notice."""

from dataclasses import replace

import numpy as np
import pytest
from fakes import LABELS, make_analysis, make_exam
from qtpy.QtCore import Qt

from napari_octcube._widgets.score_table import BAR
from octcube_core.exam import BScanLocations, EnFaceImage
from octcube_core.results import DiseaseScore
from octcube_core.token_grid import TokenGrid

pytestmark = pytest.mark.xvfb
SHAPE = (61, 496, 768)
DISEASES = 8


def coloured(viewer, qtbot):
    """Saturation of each pixel of the canvas."""
    qtbot.wait(100)
    pixels = viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)
    return pixels, pixels.max(axis=-1) - pixels.min(axis=-1)


def test_opacity_is_that_of_the_slider(analysed, qtbot):
    viewer, dock = analysed
    slider = dock.analysis_tab.overlay_bar.opacity_slider
    strengths = []
    for percent in (100, 50, 0):
        slider.setValue(percent)
        strengths.append(coloured(viewer, qtbot)[1].max())
    assert strengths[0] > 1.5 * strengths[1] > 50
    assert strengths[2] <= 3


def test_below_the_threshold_nothing_is_coloured(analysed, qtbot):
    viewer, dock = analysed
    areas = []
    for percent in (0, 60):
        dock.analysis_tab.overlay_bar.threshold_slider.setValue(percent)
        areas.append((coloured(viewer, qtbot)[1] > 15).sum())
    assert 0 < areas[1] < 0.6 * areas[0]


def test_the_colour_map_is_the_chosen_one_and_is_listed_once(analysed, qtbot):
    viewer, dock = analysed
    session = dock.session
    pixels, _ = coloured(viewer, qtbot)
    session.overlay_colormap = "viridis"
    for threshold in (0.1, 0.2, 0.0):
        session.overlay_threshold = threshold
    changed, _ = coloured(viewer, qtbot)
    differs = np.abs(changed - pixels).max(axis=-1)
    most = np.unravel_index(differs.argmax(), differs.shape)
    assert pixels[most][0] > pixels[most][1]  # red
    assert changed[most][1] > changed[most][0]  # green
    ours = [name for name in dock.scene.overlay.colormaps if "viridis" in name and "OCT" in name]
    assert ours == ["OCTCube viridis"]


def test_naparis_own_opacity_counts_for_all(analysed):
    _, dock = analysed
    dock.scene.overlay.opacity = 0.25
    assert dock.session.overlay_opacity == 0.25
    assert dock.analysis_tab.overlay_bar.opacity_label.text() == "25%"


def test_it_is_remembered_for_the_next_eye(analysed):
    _, dock = analysed
    dock.session.overlay_opacity, dock.session.overlay_colormap = 0.4, "cividis"
    exam = make_exam(bright=(3, 10, 40))
    dock.scene.add_exam(exam)
    dock.session.finish(exam, make_analysis(exam))
    assert dock.scene.overlay.opacity == 0.4
    assert dock.scene.overlay.colormap.name == "OCTCube cividis"


def large_eye():
    """A volume of a usual size on an IR image of one, and eight diseases on the token grid of a ViT-L."""
    lines = tuple(np.array([[row, 128.0], [row, 640.0]]) for row in np.linspace(140, 630, SHAPE[0]))
    infrared = EnFaceImage(np.full((768, 768), 90, np.uint8), "IR", (0.011, 0.011))
    exam = replace(
        make_exam(SHAPE, (0.12, 0.0039, 0.0115)),
        enface=(infrared,),
        locations=BScanLocations(lines),
    )
    grid = TokenGrid(SHAPE, (60, 256, 256), (3, 16, 16))
    saliency = np.random.default_rng(0).random((DISEASES, *grid.shape), np.float32)
    scores = tuple(
        DiseaseScore(f"Disease {n}", f"D{n}", (), 0.9 - n / 10, LABELS[0].threshold)
        for n in range(DISEASES)
    )
    analysis = replace(
        make_analysis(exam),
        scores=scores,
        saliency=saliency,
        saliency_peak=np.ones(DISEASES, np.float32),
        grid=grid,
    )
    return exam, analysis


@pytest.mark.parametrize("tab", ["analysis_tab", "localizer_tab"])
def test_switching_the_disease_switches_everything_within_50_ms(
    open_dock, qtbot, longest_stall, tab
):
    viewer, dock = open_dock(show=True)
    viewer.window.resize(1366, 768)
    exam, analysis = large_eye()
    dock.scene.add_exam(exam)
    dock.session.finish(exam, analysis)
    dock.setCurrentWidget(getattr(dock, tab))
    qtbot.wait(600)
    table, chips = dock.analysis_tab.score_table, dock.analysis_tab.key_bscans
    curve, heat = dock.analysis_tab.saliency_curve, dock.localizer_tab.view.fundus.heat
    stalls = []
    for row in (3, 6, 1):
        before = heat.pixmap().cacheKey()
        longest_stall()
        if tab == "analysis_tab":
            place = table.visualItemRect(table.item(row, BAR)).center()
            qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
        else:
            table.selectRow(row)
        target = dock.session.disease
        assert target == f"D{row}"
        np.testing.assert_array_equal(dock.scene.overlay.data, analysis.saliency[row])
        assert list(chips.chips) == analysis.key_bscans(target, 5)
        np.testing.assert_array_equal(curve._values, analysis.bscan_importance(target))
        if tab == "localizer_tab":  # else nobody sees it, and it is not made
            assert heat.pixmap().cacheKey() != before
            assert not heat.pixmap().isNull()
        qtbot.wait(50)
        stalls.append(longest_stall()[1])
    assert max(stalls) < 0.05, stalls
