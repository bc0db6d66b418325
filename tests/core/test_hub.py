"""hub.locate: a name in, a file out; without a network or leave, one sentence that says how to get it.

Each call runs in a process of its own, since huggingface_hub reads its settings when it is imported.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_hub import LOCATE, Computer, FakeHub, fake_hub

from octcube_core.checkpoints import hub as hub_module
from octcube_core.checkpoints.hub import locate
from octcube_core.checkpoints.released import NAMES, PACKAGED, RELEASED
from octcube_core.errors import CheckpointError

CLASSIFIER = RELEASED["octcube-multitask"]
CONTENT = os.urandom(300_000)


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with fake_hub() as hub:
        hub.files[CLASSIFIER.repository, "main", CLASSIFIER.file] = CONTENT
        yield hub


@pytest.fixture
def computer(tmp_path: Path, hub: FakeHub) -> Computer:
    return Computer(tmp_path, hub.url)


def assert_one_sentence(error: str, *parts: str) -> None:
    assert "\n" not in error
    assert error.endswith(".")
    assert ". " not in error
    for part in parts:
        assert part in error


def test_a_name_is_downloaded_once_and_then_found_without_network(
    hub: FakeHub, computer: Computer
) -> None:
    found = computer.locate("octcube-multitask")
    assert found.path is not None
    assert found.path.read_bytes() == CONTENT
    assert found.path.name == CLASSIFIER.file
    assert found.stderr == ""
    asked = len(hub.requests)
    for settings in ({}, {"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:1"}):
        assert computer.locate("octcube-multitask", **settings).path == found.path
    assert len(hub.requests) == asked


def test_progress_is_reported_from_nothing_to_all(computer: Computer) -> None:
    stages = computer.locate("octcube-multitask").stages
    fractions = [fraction for _, fraction in stages]
    assert fractions[0] == 0.0
    assert fractions[-1] == 1.0
    assert fractions == sorted(fractions)
    assert all(CLASSIFIER.file in stage for stage, _ in stages)


def test_what_the_callback_raises_ends_the_download(computer: Computer) -> None:
    found = computer.locate("octcube-multitask", "--cancel")
    assert found.type == "AnalysisCancelled"
    assert computer.snapshots() == computer.unfinished() == []


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"HF_ENDPOINT": "http://127.0.0.1:1"}, "connection to Hugging Face failed"),
        ({"HF_ENDPOINT": "http://no-such-host.invalid"}, "connection to Hugging Face failed"),
        ({"HF_HUB_OFFLINE": "1"}, "offline mode"),
    ],
)
def test_without_network_a_sentence_says_which_file_where_to_put_it_and_how_to_point_to_it(
    hub: FakeHub, computer: Computer, settings: dict[str, str], reason: str
) -> None:
    start = time.monotonic()
    found = computer.locate("octcube-multitask", **settings)
    assert time.monotonic() - start < 20
    assert_one_sentence(
        found.error,
        reason,
        CLASSIFIER.file,
        f"https://huggingface.co/{CLASSIFIER.repository}",
        str(computer.home / "octcube-models"),
        "OCTCUBE_MODELS",
        "open the file itself",
    )
    assert found.stderr == ""
    assert hub.requests == []
    # The sentence is true: with the file in that folder, the name works.
    folder = computer.home / "octcube-models"
    folder.mkdir()
    (folder / CLASSIFIER.file).write_bytes(b"by hand")
    assert computer.locate("octcube-multitask", **settings).path == folder / CLASSIFIER.file


@pytest.mark.parametrize("file", ["RETFound_mae_natureOCT.pth", "RETFound_oct_weights.pth"])
def test_the_users_own_folder_comes_before_the_network(
    hub: FakeHub, computer: Computer, tmp_path: Path, file: str
) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / file).write_bytes(b"mine")
    found = computer.locate("retfound-oct", OCTCUBE_MODELS=str(folder))
    assert found.path == folder / file
    assert hub.requests == []


def test_a_named_folder_goes_before_that_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCTCUBE_MODELS", str(tmp_path))
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / CLASSIFIER.file).write_bytes(b"mine")
    assert hub_module.find_local("octcube-multitask", str(folder)) == folder / CLASSIFIER.file
    assert hub_module.find_local("octcube-multitask") != folder / CLASSIFIER.file


def test_a_models_folder_that_is_none_is_said(computer: Computer, tmp_path: Path) -> None:
    found = computer.locate("octcube", OCTCUBE_MODELS=str(tmp_path / "typo"))
    assert_one_sentence(found.error, "OCTCUBE_MODELS", "typo", "not a folder")


def test_gated_weights_say_where_to_ask_and_come_with_a_token(
    hub: FakeHub, computer: Computer
) -> None:
    model = RELEASED["retfound-cfp"]
    hub.gated.add(model.repository)
    hub.files[model.repository, "main", model.file] = CONTENT
    for token in ({}, {"HF_TOKEN": "hf_notyet"}):
        found = computer.locate("retfound-cfp", **token)
        assert_one_sentence(
            found.error, f"https://huggingface.co/{model.repository}", "hf auth login"
        )
    found = computer.locate("retfound-cfp", HF_TOKEN=hub.token)
    assert found.path is not None
    assert found.path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "address",
    [
        "hf://lab/weights/deep/model.pth",
        "hf://lab/weights/deep/model.pth@main",
        "hf://lab/weights@main/deep/model.pth",
        "https://huggingface.co/lab/weights/blob/main/deep/model.pth",
    ],
)
def test_an_address_names_any_file(hub: FakeHub, computer: Computer, address: str) -> None:
    hub.files["lab/weights", "main", "deep/model.pth"] = b"main"
    found = computer.locate(address)
    assert found.path is not None, found.error
    assert found.path.read_bytes() == b"main"


def test_an_address_names_a_revision(hub: FakeHub, computer: Computer) -> None:
    hub.files["lab/weights", "main", "model.pth"] = b"main"
    hub.files["lab/weights", "v2", "model.pth"] = b"second"
    found = computer.locate("hf://lab/weights/model.pth@v2")
    assert found.path is not None, found.error
    assert found.path.read_bytes() == b"second"


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("hf://lab/nothing/model.pth", ("no model repository lab/nothing", "hf auth login")),
        ("hf://lab/weights/no.pth", ("no file no.pth", "huggingface.co/lab/weights/tree/main")),
        ("hf://lab/weights/model.pth@v9", ("no revision 'v9'", "huggingface.co/lab/weights")),
    ],
)
def test_what_is_not_on_the_hub_is_said(
    hub: FakeHub, computer: Computer, address: str, parts: tuple[str, ...]
) -> None:
    hub.files["lab/weights", "main", "model.pth"] = b"main"
    found = computer.locate(address)
    assert_one_sentence(found.error, *parts)
    assert computer.snapshots() == []


@pytest.mark.parametrize(
    "address",
    [
        "hf://",
        "hf://lab",
        "hf://lab/weights",
        "hf://lab/weights/",
        "hf://lab/weights/../model.pth",
        "hf://lab/weights//model.pth",
        "hf://lab/weights/model.pth@",
        "hf://lab/weights/model.pth@../../main",
        "hf://lab/weights/a\\..\\..\\model.pth",
        "hf://lab/weights/model\x1b[2J.pth",
        "hf://lab/weights/model\0.pth",
        "hf://lab/" + "w" * 300 + "/model.pth",
        "hf://la b/weights/model.pth",
        "hf://datasets/lab/weights/model.pth",
        "https://example.org/model.pth",
    ],
)
def test_an_address_that_is_none_is_said_at_once(address: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        locate(address)
    assert_one_sentence(str(caught.value), repr(address), "hf://user/repository/path/to/file")


def test_a_server_in_trouble_is_said(hub: FakeHub, computer: Computer) -> None:
    hub.status = 503
    assert_one_sentence(
        computer.locate("octcube").error, "HTTP 503", "OCTCube.pth", "open the file itself"
    )
    hub.status = 401
    assert_one_sentence(computer.locate("octcube").error, "hf auth login")


def test_gated_weights_without_network_say_that_they_must_be_asked_for(computer: Computer) -> None:
    found = computer.locate("retfound-cfp", HF_HUB_OFFLINE="1")
    assert_one_sentence(found.error, "authors have let you in", "RETFound_mae_natureCFP.pth")


@pytest.mark.parametrize("name", ["n" * 5000, "~nobody-of-this-name/model.pth", "a\0b"])
def test_what_cannot_be_a_path_is_no_model(name: str) -> None:
    with pytest.raises(CheckpointError, match="no model or file"):
        locate(name)


def test_a_connection_that_breaks_is_taken_up_where_it_broke(
    hub: FakeHub, computer: Computer
) -> None:
    content = os.urandom(1_000) * 24_000  # huggingface_hub writes ten megabytes at a time
    hub.files[CLASSIFIER.repository, "main", CLASSIFIER.file] = content
    hub.break_after, hub.breaks = 15_000_000, 1
    found = computer.locate("octcube-multitask")
    assert found.path is not None, found.error
    assert found.path.read_bytes() == content
    first, second = hub.starts
    assert first == 0 < second <= 15_000_000


def test_a_download_that_never_ends_leaves_nothing_that_loads(
    hub: FakeHub, computer: Computer
) -> None:
    hub.break_after = 100_000
    found = computer.locate("octcube-multitask")
    assert_one_sentence(found.error, CLASSIFIER.file, "open the file itself")
    assert found.stderr == ""
    assert computer.snapshots() == computer.unfinished() == []
    assert computer.locate("octcube-multitask", HF_HUB_OFFLINE="1").path is None


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_download_leaves_nothing_that_loads(hub: FakeHub, computer: Computer) -> None:
    hub.seconds = 30
    process = computer.start("octcube-multitask")
    while not computer.unfinished():
        time.sleep(0.01)
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert computer.locate("octcube-multitask", HF_HUB_OFFLINE="1").path is None
    hub.seconds = 0
    found = computer.locate("octcube-multitask")
    assert found.path is not None
    assert found.path.read_bytes() == CONTENT


def test_two_processes_fetch_one_file_once(hub: FakeHub, computer: Computer) -> None:
    hub.seconds = 1.0
    both = [computer.start("octcube-multitask") for _ in range(2)]
    first, second = (computer.result(process) for process in both)
    assert first.path == second.path
    assert first.path is not None
    assert first.path.read_bytes() == CONTENT
    assert hub.downloads == 1


def test_a_disk_without_room_is_said_before_the_download(hub: FakeHub, computer: Computer) -> None:
    hub.claimed_size = 10**18
    found = computer.locate("octcube-multitask")
    assert_one_sentence(found.error, "1000000000.0 GB", "HF_HOME")
    assert hub.downloads == 0


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on files there")
def test_a_disk_that_fills_up_is_said(hub: FakeHub, computer: Computer) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
    found = computer.result(computer.start("octcube-multitask", code=limit + LOCATE))
    assert_one_sentence(found.error, "disk is full", "HF_HOME")
    assert computer.snapshots() == computer.unfinished() == []


def test_a_cache_that_cannot_be_written_is_said(computer: Computer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    found = computer.locate("octcube-multitask", HF_HOME=str(tmp_path / "file" / "hf"))
    assert_one_sentence(found.error, "cannot be written", "HF_HOME")


def test_a_path_is_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("octcube").write_bytes(b"a file of that name")
    assert locate("./octcube").read_bytes() == b"a file of that name"
    assert locate(Path("octcube")).read_bytes() == b"a file of that name"


def test_the_packaged_model_is_there() -> None:
    assert locate("demo") == PACKAGED["demo"]


def test_a_packaged_model_that_is_missing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(hub_module.PACKAGED, "demo", tmp_path / "gone.safetensors")
    with pytest.raises(CheckpointError, match="missing from this installation"):
        locate("demo")


@pytest.mark.parametrize("make", [str, Path])
def test_an_unknown_name_says_which_exist(make: Callable[[str], str | Path]) -> None:
    with pytest.raises(CheckpointError) as caught:
        locate(make("octcub"))
    assert_one_sentence(str(caught.value), "'octcub'", *NAMES)


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"folder.*demo"):
        locate(tmp_path)
