import json
import time

import pytest

from napari_octcube import _kept_numbers
from napari_octcube._contrast import Contrast
from napari_octcube._contrast_memory import ContrastMemory
from napari_octcube._kept_numbers import KeptNumbers

LOOK = Contrast(0.1, 0.7, 0.8)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "configuration" / "contrast.json"


def test_what_is_kept_is_there_the_next_day(file):
    memory = ContrastMemory()
    memory.keep("Topcon", LOOK)
    assert memory.get("Topcon") == LOOK
    memory.close()
    assert ContrastMemory().get("Topcon") == LOOK
    assert ContrastMemory().get("Zeiss") is None


def test_it_is_written_once_after_a_drag(file, monkeypatch):
    written = []
    monkeypatch.setattr(_kept_numbers, "DELAY_S", 0.2)
    monkeypatch.setattr(_kept_numbers, "_write", lambda file, rows: written.append(rows))
    memory = ContrastMemory()
    for step in range(50):
        memory.keep("Topcon", Contrast(0, 1 - step / 100))
    end = time.monotonic() + 10
    while not written and time.monotonic() < end:
        time.sleep(0.02)
    assert written == [{"Topcon": (0, 0.51, 1.0)}]


def test_two_windows_keep_each_other_s_devices(file):
    one, other = ContrastMemory(), ContrastMemory()
    one.keep("Topcon", LOOK)
    one.close()
    other.keep("Zeiss", LOOK)
    other.close()
    assert set(json.loads(file.read_text())) == {"Topcon", "Zeiss"}


def test_forgotten_is_forgotten(file):
    memory = ContrastMemory()
    memory.keep("Topcon", LOOK)
    memory.close()
    memory.forget("Topcon")
    assert memory.get("Topcon") is None
    memory.close()
    assert ContrastMemory().get("Topcon") is None


@pytest.mark.parametrize(
    "text",
    ["", "[]", "[1]", '{"a": 1}', '{"a": [1]}', '{"a": ["x", 1, 1]}', "\0"]
    + [f'{{"a": {row}}}' for row in ("[1, 0, 1]", "[0, 1, 0]", "[0, NaN, 1]", "[0, Infinity, 1]")],
)
def test_a_damaged_file_counts_as_none(file, text):
    file.parent.mkdir()
    file.write_text(text)
    assert ContrastMemory().get("a") is None


def test_a_folder_that_cannot_be_written_stops_nobody(file):
    file.parent.write_text("a file where the folder should be")
    memory = ContrastMemory()
    memory.keep("Topcon", LOOK)
    memory.close()
    assert memory.get("Topcon") == LOOK


def test_the_oldest_go_first(file):
    kept = KeptNumbers("contrast.json", 1, most=3)
    for name in "abcd":
        kept.keep(name, (1.0,))
    kept.write()
    kept.keep("b", (2.0,))
    kept.keep("e", (1.0,))
    kept.close()
    assert json.loads(file.read_text()) == {"d": [1.0], "b": [2.0], "e": [1.0]}
