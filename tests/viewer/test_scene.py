"""The viewer's layers and slider follow the session, and the other way round."""

import dataclasses

import numpy as np
import pytest
from fakes import BRIGHT_VOXEL, make_analysis, make_exam
from geometry import assert_covers

from napari_octcube._layers import NOT_TO_SCALE, exam_layer
from napari_octcube._scene import Scene
from napari_octcube._session import Session
from octcube_core.results import Measurement


@pytest.fixture
def viewer():
    from napari.components import ViewerModel

    return ViewerModel()


def at_once(function):
    function()


def analysed(viewer, exam, analysis=None):
    session = Session()
    scene = Scene(viewer, session, at_once)
    scene.add_exam(exam)
    session.finish(exam, analysis or make_analysis(exam))
    return session, scene


def test_analysis_adds_the_overlay_and_goes_to_the_key_bscan(viewer):
    exam = make_exam()
    _, scene = analysed(viewer, exam)
    assert scene.overlay.name == "Saliency: DME"
    bscan = round(viewer.dims.point[0] / 120)
    assert bscan == make_analysis(exam).key_bscans("DME")[0]
    assert len(viewer.layers) == 2


def test_overlay_leaves_the_slider_at_bscans(viewer):
    for shape in [(20, 96, 160), (7, 101, 93), (2, 96, 160)]:
        viewer.layers.clear()
        analysed(viewer, make_exam(shape, bright=(1, 2, 3)))
        start, stop, step = viewer.dims.range[0]
        assert (start, stop, step) == pytest.approx((0, (shape[0] - 1) * 120, 120))


def test_switching_the_disease_swaps_the_data_of_one_layer(viewer):
    exam = make_exam()
    session, scene = analysed(viewer, exam)
    overlay = scene.overlay
    session.disease = "AMD"
    assert scene.overlay is overlay
    np.testing.assert_array_equal(overlay.data, session.analysis.saliency[1])
    assert overlay.name == "Saliency: AMD"


def without_diseases(exam, measurements):
    analysis = make_analysis(exam)
    count = len(measurements)
    return dataclasses.replace(
        analysis,
        scores=(),
        normal_probability=None,
        measurements=measurements,
        saliency=analysis.saliency[:count],
        saliency_peak=analysis.saliency_peak[:count],
    )


def test_measurements_have_overlays(viewer):
    exam = make_exam()
    measurements = (Measurement("Similarity", "OCT~IR", 0.3), Measurement("Growth", "GA", 1.5))
    session, scene = analysed(viewer, exam, without_diseases(exam, measurements))
    assert scene.overlay.name == "Saliency: OCT~IR"
    assert_covers(scene.overlay, viewer.layers[0], BRIGHT_VOXEL)
    session.disease = "GA"
    np.testing.assert_array_equal(scene.overlay.data, session.analysis.saliency[1])


def test_a_model_without_scores_takes_the_overlay_before_away(viewer):
    exam = make_exam()
    session, scene = analysed(viewer, exam)
    assert scene.overlay is not None
    session.finish(exam, without_diseases(exam, ()))
    assert scene.overlay is None
    assert [layer.name for layer in viewer.layers] == ["OCT"]


def test_a_second_run_with_the_same_top_disease_updates_the_overlay(viewer):
    exam = make_exam()
    session, scene = analysed(viewer, exam)
    other = make_analysis(exam)
    other.saliency[0] = 0.25
    session.finish(exam, other)
    np.testing.assert_array_equal(scene.overlay.data, other.saliency[0])


def test_aspect_switch_keeps_the_layers_registered(viewer):
    session, scene = analysed(viewer, make_exam())
    for aspect in ("px", "um"):
        session.aspect = aspect
        assert viewer.layers[0].scale[1] == pytest.approx(12 if aspect == "px" else 4)
        assert_covers(scene.overlay, viewer.layers[0], BRIGHT_VOXEL)


def test_removing_the_exam_removes_the_overlay(viewer):
    session, scene = analysed(viewer, make_exam())
    viewer.layers.pop(0)
    assert session.exam is None
    assert scene.overlay is None
    assert len(viewer.layers) == 0


def test_removing_the_overlay_deselects_and_selecting_brings_it_back(viewer):
    session, scene = analysed(viewer, make_exam())
    viewer.layers.remove(scene.overlay)
    assert session.disease is None
    session.disease = "PVD"
    assert scene.overlay in viewer.layers


@pytest.mark.parametrize("by_napari", [True, False])
def test_an_exam_replaces_the_one_before(viewer, by_napari):
    first, second = make_exam(), make_exam((9, 64, 64), (None, None, None), bright=(1, 2, 3))
    session, scene = analysed(viewer, first)
    closed = []
    session.exam_closed.connect(closed.append)
    if by_napari:  # File > Open, a sample, a script
        viewer.add_layer(exam_layer(second))
    else:
        scene.add_exam(second)
    assert closed == [first]
    assert session.exam is second
    assert session.analysis is None
    (layer,) = viewer.layers
    assert layer.data.shape == (9, 64, 64)
    assert viewer.dims.range[0] == pytest.approx((0, 8, 1))
    assert viewer.dims.point[0] == 4
    assert not viewer.canvas.overlays.scale_bar.visible


def test_exams_opened_before_the_dock_are_found(viewer):
    exam = make_exam()
    viewer.add_layer(exam_layer(exam))
    session = Session()
    scene = Scene(viewer, session, at_once)
    assert session.exam is exam
    assert scene.overlay is None


def test_scale_bar_only_when_lengths_are_known(viewer):
    session = Session()
    scene = Scene(viewer, session, at_once)
    scene.add_exam(make_exam())
    assert viewer.canvas.overlays.scale_bar.visible
    viewer.layers.clear()
    scene.add_exam(make_exam(spacing_mm=(None, None, None)))
    assert not viewer.canvas.overlays.scale_bar.visible


@pytest.mark.parametrize("spacing", [(0.12, None, 0.012), (None, 0.004, None)])
def test_no_scale_bar_in_pixels(viewer, spacing):
    scene = Scene(viewer, Session(), at_once)
    scene.add_exam(make_exam(spacing_mm=spacing))
    assert not viewer.canvas.overlays.scale_bar.visible


@pytest.mark.parametrize(("across", "visible"), [(0.12, True), (None, False)])
def test_scale_bar_only_along_axes_with_distances(viewer, across, visible):
    scene = Scene(viewer, Session(), at_once)
    scene.add_exam(make_exam(spacing_mm=(across, 0.004, 0.012)))
    bar = viewer.canvas.overlays.scale_bar
    assert bar.visible
    viewer.dims.order = (1, 0, 2)  # en face
    assert bar.visible is visible
    viewer.dims.order = (0, 1, 2)
    assert bar.visible
    viewer.dims.ndisplay = 3
    assert bar.visible is visible


HORIZONTAL_DEPTH = ((0, 2, 1), (2, 0, 1))


@pytest.mark.parametrize("by_aspect", [True, False])
@pytest.mark.parametrize("axial", [0.004, 0.012])
def test_no_scale_bar_along_a_stretched_depth(viewer, axial, by_aspect):
    session = Session()
    scene = Scene(viewer, session, at_once)
    scene.add_exam(make_exam(spacing_mm=(0.12, axial, 0.012)))
    bar = viewer.canvas.overlays.scale_bar
    true = axial == 0.012  # square pixels, which nothing stretches
    for order in (*HORIZONTAL_DEPTH, (0, 1, 2), (1, 0, 2)):
        if by_aspect:
            session.aspect, viewer.dims.order = "um", order
            assert bar.visible
            session.aspect = "px"
        else:
            viewer.dims.order, session.aspect = (0, 1, 2), "px"
            assert bar.visible
            viewer.dims.order = order
        assert bar.visible is (true or order not in HORIZONTAL_DEPTH)
    viewer.dims.ndisplay = 3
    assert bar.visible is true
    session.aspect = "um"
    assert bar.visible


@pytest.mark.parametrize("order", HORIZONTAL_DEPTH)
def test_whether_depth_is_stretched_is_asked_of_the_exam_in_view(viewer, order):
    scene = Scene(viewer, Session(aspect="px"), at_once)
    for axial, visible in [(0.012, True), (0.004, False), (0.012, True)]:
        scene.add_exam(make_exam(spacing_mm=(0.12, axial, 0.012)))
        viewer.dims.order = order
        assert viewer.canvas.overlays.scale_bar.visible is visible


@pytest.fixture(params=[0.12, None])
def followed(viewer, request):
    """Viewer and session with an exam of 20 B-scans, and the session's B-scans as they were announced."""
    session = Session()
    scene = Scene(viewer, session, at_once)
    scene.add_exam(make_exam(spacing_mm=(request.param, 0.004, 0.012)))
    heard = []
    session.events.bscan.connect(heard.append)
    return viewer, session, scene, heard


def test_a_new_exam_starts_in_its_middle(followed):
    _, session, scene, _ = followed
    middle = session.bscan
    assert middle in (9, 10)
    scene.add_exam(make_exam((5, 64, 64), bright=(1, 2, 3)))
    assert session.bscan == 2


def test_the_slider_moves_the_session(followed):
    viewer, session, _, heard = followed
    for step in (3, 4, 19, 0):
        viewer.dims.set_current_step(0, step)
        assert session.bscan == step
    assert heard == [3, 4, 19, 0]


def test_the_session_moves_the_slider_once(followed):
    viewer, session, _, heard = followed
    steps = []
    viewer.dims.events.current_step.connect(lambda event: steps.append(event.value[0]))
    session.go_to_bscan(7)
    assert viewer.dims.current_step[0] == 7
    assert (steps, heard) == ([7], [7])


def test_bscans_that_do_not_exist_are_not_gone_to(followed):
    viewer, session, _, _ = followed
    session.go_to_bscan(400)
    assert (session.bscan, viewer.dims.current_step[0]) == (19, 19)
    session.go_to_bscan(-3)
    assert (session.bscan, viewer.dims.current_step[0]) == (0, 0)


def test_a_finer_layer_beside_the_exam_does_not_confuse_the_bscans(followed):
    viewer, session, _, _ = followed
    step = viewer.layers[0].scale[0]
    viewer.add_image(np.zeros((60, 8, 8)), scale=(step / 3, 50, 200), units="micrometer")
    viewer.dims.set_point(0, 5.3 * step)
    assert session.bscan == 5
    assert viewer.dims.point[0] == pytest.approx(5.3 * step)  # nobody pulled the slider back


def test_the_next_exam_takes_the_layer_of_the_one_before(viewer):
    before, after = make_exam(), make_exam((7, 101, 93), bright=(1, 2, 3))
    session, scene = analysed(viewer, before)
    layer = scene.layer
    layer.colormap = "viridis"
    closed = []
    session.exam_closed.connect(closed.append)
    scene.add_exam(after)
    assert list(viewer.layers) == [layer]  # and no overlay of the exam before
    assert closed == [before]
    assert session.exam is after
    np.testing.assert_array_equal(layer.data, after.volume.voxels)
    assert layer.colormap.name == "viridis"
    fresh = exam_layer(after)
    for fact in ("scale", "translate", "units", "axis_labels", "contrast_limits", "name"):
        np.testing.assert_array_equal(getattr(layer, fact), getattr(fresh, fact))
    assert tuple(viewer.dims.range[0]) == pytest.approx((0, 6 * 120, 120))
    assert session.bscan == 3


def test_other_axes_get_a_layer_of_their_own(viewer):
    _, scene = analysed(viewer, make_exam())
    before = scene.layer
    scene.add_exam(make_exam(spacing_mm=(None, 0.004, 0.012)))
    assert scene.layer is not before
    assert list(viewer.layers) == [scene.layer]
    assert viewer.dims.axis_labels[0] == NOT_TO_SCALE


def test_other_numbers_get_a_layer_of_their_own(viewer):
    exam = make_exam()
    _, scene = analysed(viewer, exam)
    deep = dataclasses.replace(exam.volume, voxels=exam.volume.voxels.astype(np.uint16) * 200)
    scene.add_exam(dataclasses.replace(exam, volume=deep))
    (layer,) = viewer.layers
    assert layer.dtype == np.uint16
