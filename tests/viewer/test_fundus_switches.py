import pytest
from fakes import make_exam

from napari_octcube._widgets.fundus_switches import FundusSwitches
from octcube_core.etdrs import Fovea


@pytest.fixture
def switches(session, qtbot):
    switches = FundusSwitches(session)
    qtbot.addWidget(switches)
    session.show_exam(make_exam())
    switches.show()
    return switches


def test_they_set_the_session_and_follow_it(switches, session):
    switches.heat_switch.click()
    switches.etdrs_switch.click()
    assert (session.show_heat, session.show_etdrs) == (False, True)
    session.show_heat, session.show_etdrs = True, False
    assert switches.heat_switch.isChecked()
    assert not switches.etdrs_switch.isChecked()


def test_how_the_fovea_is_known_is_said(switches, session):
    session.show_etdrs = True
    switches.set_fovea(Fovea(1.0, 2.0, "the scan"))
    assert switches.fovea_label.text() == "Fovea estimated"
    assert "centre of the scan" in switches.fovea_label.toolTip()
    assert not switches.estimate_button.isVisible()
    switches.set_fovea(Fovea(1.0, 2.0))
    assert switches.fovea_label.text() == "Fovea placed by you"
    assert switches.estimate_button.isVisible()


def test_a_reason_disables_the_heat(switches):
    switches.set_heat("Heat", "There is none.")
    assert not switches.heat_switch.isEnabled()
    assert switches.heat_switch.toolTip() == "There is none."
    switches.set_heat("Heat: DME")
    assert switches.heat_switch.isEnabled()
    assert "overlay" in switches.heat_switch.toolTip()
