"""What is set in napari's Preferences, by way of napari's own settings and their file."""

from dataclasses import fields

import pytest
import yaml
from fakes import make_exam

from napari_octcube._batch import FolderAnalysis
from napari_octcube._folder_indexing import FolderIndexing
from napari_octcube._inference import InferenceClient
from napari_octcube._session_settings import SessionSettings
from napari_octcube._settings import Settings
from octcube_core.colours import OVERLAY_COLORMAPS
from octcube_core.worker_protocol import Embed


@pytest.fixture
def client(session, owner, fake_worker, settings):
    client = InferenceClient(session, owner, fake_worker, settings)
    session.show_exam(make_exam())
    yield client
    client.close()


def opened_again():
    """napari's settings as another viewer would find them, tomorrow."""
    from napari import settings

    settings._clear_plugin_settings_cache()
    found = Settings()
    problem = found.follow_napari()
    return found, problem


def run(client, session, owner):
    """Run to the end; return what the model process said that it ran as."""
    stages = []
    session.events.stage.connect(stages.append)
    client.submit()
    owner.run_until(lambda: session.running is None)
    session.events.stage.disconnect(stages.append)
    assert session.error == ""
    return [stage.removeprefix("Ran as ") for stage in stages if stage.startswith("Ran as ")]


def test_the_manifest_s_defaults_are_the_program_s(settings):
    fresh = Settings()
    names = [field.name for field in fields(Settings) if not field.name.startswith("_")]
    assert [getattr(settings, name) for name in names] == [getattr(fresh, name) for name in names]


def test_the_manifest_offers_the_overlay_s_colours(plugin):
    offered = plugin.contributions.configurations["overlay"].properties["colours"].enum
    assert tuple(offered) == OVERLAY_COLORMAPS


def test_the_manifest_s_words_are_those_of_the_command_line(plugin):
    from octcube_core.cli.arguments import PRECISIONS, device

    offered = plugin.contributions.configurations["model"].properties
    assert tuple(offered["precision"].enum) == PRECISIONS
    assert [device(name) for name in offered["device"].enum] == offered["device"].enum


def test_without_napari_s_settings_there_are_the_defaults(plugin_settings):
    settings = Settings()
    assert settings.follow_napari() == ""
    assert settings.device == "auto"
    settings.remember("aspect", "square pixels")
    assert settings.aspect == "square pixels"


def test_settings_are_there_again_the_next_day(preferences, settings):
    preferences.model.precision = "fp32"
    settings.remember("models_folder", "/weights")
    written = yaml.safe_load(preferences.config_path.read_text())
    assert written == {"model": {"precision": "fp32", "folder": "/weights"}}
    found, _ = opened_again()
    assert (found.precision, found.models_folder) == ("fp32", "/weights")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("model: {device: toaster, precision: fp32}", "Device"),
        ("model: {precision: fp32}\noverlay: {opacity: 200}", "Opacity (%)"),
        ("model: {precision: fp32}\noverlay: 5", "Colours"),
        ("model: {precision: fp32}\nresults: {megabytes: many}", "At most (MB)"),
    ],
)
def test_values_that_cannot_be_used_are_said_in_a_sentence(preferences, written, said):
    preferences.config_path.write_text(written)
    found, problem = opened_again()
    assert "napari-octcube.yaml" in problem
    assert said in problem
    assert "defaults" in problem
    assert found.precision == "fp32"  # what is right counts
    assert (found.device, found.opacity, found.results_mb) == ("auto", 80, 1000)


@pytest.mark.parametrize("written", ["{model: [", "", "- a list", "a word", "\x00"])
def test_a_damaged_settings_file_is_no_crash(preferences, written):
    preferences.config_path.write_text(written)
    found, _ = opened_again()
    assert (found.device, found.results_mb) == ("auto", 1000)


def test_right_values_are_not_complained_of(preferences):
    preferences.config_path.write_text("model: {device: cpu}\noverlay: {opacity: 30}")
    found, problem = opened_again()
    assert problem == ""
    assert (found.device, found.opacity) == ("cpu", 30)


def test_a_run_is_as_set_and_a_change_holds_for_the_next(client, session, owner, preferences):
    assert run(client, session, owner) == ["auto auto"]
    preferences.model.device = "cpu"
    preferences.model.precision = "fp32"
    preferences.model.folder = "/weights"
    assert run(client, session, owner) == ["cpu fp32 /weights"]
    preferences.model.folder = ""
    preferences.model.precision = "fp16"
    assert run(client, session, owner) == ["cpu fp16"]


def test_a_change_during_a_run_leaves_it_alone(client, session, owner, preferences):
    stages = []
    session.events.stage.connect(stages.append)
    client.submit()
    owner.run_until(lambda: session.stage == "Looking at the eye")
    pid = client.pid
    preferences.model.precision = "bf16"
    owner.run_until(lambda: session.running is None)
    assert "Ran as auto auto" in stages
    assert run(client, session, owner) == ["auto bf16"]
    assert client.pid == pid


def test_the_device_label_follows(client, session, owner, preferences):
    client.start()
    owner.run_until(lambda: session.device == "Fake GPU")
    preferences.model.device = "cpu"
    owner.run_until(lambda: session.device == "CPU")
    preferences.model.device = "auto"
    owner.run_until(lambda: session.device == "Fake GPU")


def test_a_device_that_is_not_here_is_said_at_once_and_taken_back(
    client, session, owner, preferences
):
    client.start()
    preferences.model.device = "mps"
    owner.run_until(lambda: session.error != "")
    assert session.error == "This computer has no device 'mps'; use cpu or auto."
    assert session.device == "mps, which cannot be used here"
    preferences.model.device = "cpu"
    owner.run_until(lambda: session.device == "CPU")
    assert session.error == ""


def test_it_is_said_when_the_viewer_opens_too(session, owner, fake_worker, preferences):
    preferences.model.device = "mps"
    settings = Settings()
    settings.follow_napari()
    client = InferenceClient(session, owner, fake_worker, settings)
    client.start()
    owner.run_until(lambda: session.error != "")
    client.close()
    assert "no device 'mps'" in session.error


def test_the_environment_s_folder_goes_before_that_of_the_settings(
    preferences, settings, monkeypatch
):
    preferences.model.folder = "/weights"
    assert settings.runtime.models_folder == "/weights"
    assert settings.runtime.environment == {"OCTCUBE_MODELS": "/weights"}
    monkeypatch.setenv("OCTCUBE_MODELS", "/shared")
    assert settings.runtime.models_folder == ""
    assert settings.runtime.environment == {}
    assert "OCTCUBE_MODELS" in settings.note_on_folder


def test_archives_are_never_asked_in_fp16(client, owner, preferences):
    def runs_as():
        answers = []
        client.ask(lambda job: Embed(job, make_exam(), "tells"), answers.append)
        owner.run_until(lambda: answers)
        return answers[0].message

    preferences.model.device = "cpu"
    preferences.model.precision = "fp16"
    assert runs_as() == "cpu auto"
    preferences.model.precision = "fp32"
    assert runs_as() == "cpu fp32"


def test_a_new_viewer_begins_as_set_and_follows(session, preferences, settings):
    preferences.model.first = "demo-ga"
    preferences.overlay.opacity = 30
    preferences.overlay.threshold = 20
    preferences.overlay.colours = "cividis"
    preferences.bscan.aspect = "square pixels"
    tie = SessionSettings(session, settings)
    assert session.model == "demo-ga"
    assert (session.overlay_opacity, session.overlay_threshold) == (0.3, 0.2)
    assert (session.overlay_colormap, session.aspect) == ("cividis", "px")
    preferences.overlay.opacity = 60
    preferences.overlay.colours = "viridis"
    preferences.bscan.aspect = "true proportions"
    assert (session.overlay_opacity, session.overlay_colormap) == (0.6, "viridis")
    assert session.aspect == "um"
    session.overlay_opacity = 0.1  # the slider is for now, not for good
    assert preferences.overlay.opacity == 60
    del tie


def test_the_aspect_is_remembered(session, preferences, settings):
    tie = SessionSettings(session, settings)
    session.aspect = "px"
    assert opened_again()[0].aspect == "square pixels"
    del tie


TELL = """
import json, os, sys
words = [os.environ.get("OCTCUBE_MODELS", "no folder"), *sys.argv[1:]]
print(json.dumps({"stage": " ".join(words), "fraction": 0.5}), flush=True)
"""


def test_a_batch_is_as_set(owner, settings, preferences, tmp_path):
    preferences.model.device, preferences.model.precision = "cpu", "fp16"
    preferences.model.folder = "/weights"
    analysis = FolderAnalysis(owner, ("-c", TELL), settings)
    stages = []
    analysis.state.events.stage.connect(stages.append)
    analysis.start(tmp_path, "demo", tmp_path / "t.csv")
    owner.run_until(lambda: not analysis.state.running)
    (told,) = (stage for stage in stages if "--model" in stage)
    assert told.startswith("/weights ")
    assert "--device cpu --precision fp16" in told


def test_indexing_is_as_set_but_not_in_fp16(owner, similar, settings, preferences, monkeypatch):
    from archives import make_archive

    preferences.model.device, preferences.model.precision = "cpu", "fp16"
    monkeypatch.setattr("napari_octcube._folder_indexing.COMMAND", ("-c", TELL))
    similar._client.settings = settings
    similar.open_archive(make_archive(preferences.config_path.parent))
    owner.run_until(lambda: similar.state.archive is not None)
    stages = []
    similar.state.events.indexing.connect(stages.append)
    FolderIndexing(similar, owner).start(preferences.config_path.parent)
    owner.run_until(lambda: similar.state.indexing == "")
    (told,) = (stage for stage in stages if "--model" in stage)
    assert told.startswith("no folder ")
    assert "--device cpu --precision auto" in told


@pytest.mark.parametrize("command", ["analyze", "index"])
def test_the_command_line_takes_what_is_set(command, settings, preferences):
    from octcube_core.cli import _parser

    preferences.model.device, preferences.model.precision = "cuda:1", "bf16"
    where = ("--out", "t.csv") if command == "analyze" else ("--db", "eyes.octindex")
    given = (command, "folder", "--model", "demo", *where, *settings.runtime.arguments)
    parsed = _parser().parse_args(given)
    assert (parsed.device, parsed.precision) == ("cuda:1", "bf16")
