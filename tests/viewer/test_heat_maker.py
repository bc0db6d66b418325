"""The heat of a target on a fundus image: made once, the one in demand first, never of another analysis."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from fakes import make_analysis, make_exam

from napari_octcube import _heat_maker
from napari_octcube._heat_maker import MAX_SIDE, HeatMaker, heat_source
from octcube_core.exam import BScanLocations, EnFaceImage

LINES = tuple(np.array([[row, 5.0], [row, 28.0]]) for row in np.linspace(4, 28, 20))


def eye(side=32, image=0):
    lines = tuple(line * side / 32 for line in LINES)
    images = tuple(
        EnFaceImage(np.zeros((side, side), np.uint8), modality) for modality in ("IR", "FAF", "IR")
    )
    return replace(make_exam(), enface=images, locations=BScanLocations(lines, image))


@pytest.fixture
def made():
    return []


@pytest.fixture
def maker(owner, made):
    return HeatMaker(owner, made.append)


def test_it_is_made_once_and_then_at_hand(maker, owner, made):
    exam = eye()
    analysis = make_analysis(exam)
    assert maker.ask(exam, analysis, 0, "AMD") is None
    owner.run_until(lambda: len(made) == 3)
    assert made[0] == "AMD"  # the others after it
    heat = maker.ask(exam, analysis, 0, "AMD")
    assert heat.max() == 255
    assert heat[4, 6] > 200  # in the first token
    assert heat[28, 28] == 0
    assert maker.ask(exam, analysis, 0, "AMD") is heat
    assert not maker.ask(exam, analysis, 0, "PVD").any()


def test_the_one_in_demand_comes_first(maker, owner, made, monkeypatch):
    gate = threading.Event()
    make = _heat_maker._heat

    def slow(*arguments):
        gate.wait(20)
        return make(*arguments)

    monkeypatch.setattr(_heat_maker, "_heat", slow)
    exam = eye()
    analysis = make_analysis(exam)
    maker.ask(exam, analysis, 0, "DME")
    maker.ask(exam, analysis, 0, "PVD")
    gate.set()
    owner.run_until(lambda: len(made) == 3)
    assert made == ["DME", "PVD", "AMD"]


def test_that_of_an_earlier_analysis_is_dropped(maker, owner, made):
    exam = eye()
    first, second = make_analysis(exam), make_analysis(exam)
    maker.ask(exam, first, 0, "DME")
    owner.run_until(lambda: len(made) == 3)
    assert maker.ask(exam, second, 0, "DME") is None
    maker.forget()
    owner.run_pending()
    assert maker.ask(exam, second, 0, "DME") is None


def test_a_large_image_has_fewer_pixels_of_heat_at_the_same_places(maker, owner, made):
    exam = eye(side=3000)
    analysis = make_analysis(exam)
    maker.ask(exam, analysis, 0, "AMD")
    owner.run_until(lambda: bool(made))
    heat = maker.ask(exam, analysis, 0, "AMD")
    assert max(heat.shape) <= MAX_SIDE
    scale = len(heat) / 32
    assert heat[round(4.5 * scale), round(6 * scale)] > 200
    assert heat[round(27 * scale), round(27 * scale)] == 0


def test_an_analysis_of_another_volume_gives_none(maker, owner, made):
    exam = eye()
    maker.ask(exam, make_analysis(make_exam((7, 64, 64), bright=(0, 1, 1))), 0, "DME")
    for thread in threading.enumerate():
        if thread.name == "octcube heat":
            thread.join(20)
    owner.run_pending()
    assert made == []


def test_where_the_heat_of_an_image_comes_from():
    exam = eye()
    analysis = make_analysis(exam)
    assert [heat_source(exam, analysis, image) for image in range(3)] == ["OCT", "", ""]
    seen = replace(analysis, enface={"IR": None, "FAF": None})
    assert [heat_source(exam, seen, image) for image in range(3)] == ["OCT", "FAF", ""]
    elsewhere = eye(image=2)  # the model saw the first IR image
    assert [heat_source(elsewhere, seen, image) for image in range(3)] == ["IR", "FAF", "OCT"]
