"""A run that was killed goes on, and ends with the store that it would have made."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from octcube_core.errors import InputError
from tests.train.in_process import InProcess
from train.data.prepare.build import build
from train.data.prepare.exam_rows import Recipe
from train.data.prepare.journal import Block, Workplace
from train.data.prepare.plan import Plan

EXAMS = 70
RECIPE = Recipe((2, 8, 8), (8, 8), ("IR", "FAF"), "auto", ("raster",))
# Ends itself when it has been told of so many exams.
KILLED = """
import os, signal, sys
from pathlib import Path
from tests.train.in_process import InProcess
from tests.train.test_prepare_resume import plan
from train.data.prepare import build

def progress(done, total):
    if done == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

build.OrderedPool = InProcess
build.build(plan(sys.argv[1]), Path(sys.argv[2]), 1, Path(sys.argv[4]), progress)
"""


def plan(source: Path | str, seed: int = 0) -> Plan:
    return Plan((str(source),), RECIPE, (0.8, 0.1, 0.1), seed, None, "none")


@pytest.fixture(scope="module", autouse=True)
def in_process():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("train.data.prepare.build.OrderedPool", InProcess)
        yield


def ignore(_done: int, _total: int) -> None:
    pass


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def exams(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exams")
    rng = np.random.default_rng(2)
    for number in range(EXAMS):
        voxels = rng.integers(0, 256, (3, 8, 8), np.uint8)
        infrared = {"ir": rng.integers(0, 256, (9, 9), np.uint8)} if number % 3 else {}
        np.savez(folder / f"{number}.npz", volume=voxels, **infrared)
    (folder / "20.npz").write_bytes(b"PK\3\4")
    return folder


@pytest.fixture(scope="module")
def salt(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("salt") / "salt"


@pytest.fixture(scope="module")
def whole(exams, salt, tmp_path_factory) -> dict[str, bytes]:
    store = tmp_path_factory.mktemp("whole") / "store"
    build(plan(exams), store, 1, salt, ignore)
    return content(store)


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(exams, salt, whole, tmp_path):
    store = tmp_path / "store"
    command = [sys.executable, "-c", KILLED, str(exams), str(store)]
    for done in (10, 45):
        killed = subprocess.run(
            [*command, str(done), str(salt)], cwd=Path(__file__).parents[2], check=False
        )
        assert killed.returncode == -signal.SIGKILL
        assert not store.exists()
    unfinished = tmp_path / ".store.unfinished" / "store"
    shard = unfinished / "volumes.zarr" / "volumes" / "c" / "0"
    written = {path: path.stat().st_mtime_ns for path in shard.rglob("*") if path.is_file()}
    (unfinished / "volumes.zarr" / "volumes" / "c" / "half.partial").write_bytes(b"half")
    with (tmp_path / ".store.unfinished" / "journal.jsonl").open("a") as journal:
        journal.write('{"taken": 64, "rows": [')
    first_told = []
    inodes = {path.name: path.stat().st_ino for path in written}
    build(plan(exams), store, 1, salt, lambda done, _total: first_told.append(done))
    assert first_told[0] == 33  # 32 rows and the damaged file
    assert content(store) == whole
    kept = store / "volumes.zarr" / "volumes" / "c" / "0"
    assert {path.name: path.stat().st_ino for path in kept.rglob("*") if path.is_file()} == inodes
    assert list(written.values()) == [
        path.stat().st_mtime_ns for path in kept.rglob("*") if path.is_file()
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_unfinished_work_of_another_command_is_not_touched(exams, salt, tmp_path):
    store = tmp_path / "store"

    def stop(done: int, _total: int) -> None:
        if done == 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(plan(exams), store, 1, salt, stop)
    before = content(tmp_path)
    with pytest.raises(InputError, match="unfinished work of other sources or options"):
        build(plan(exams, seed=1), store, 1, salt, ignore)
    assert content(tmp_path) == before


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such lock")
def test_two_processes_do_not_prepare_one_store(tmp_path):
    first, second = Workplace(tmp_path / "store"), Workplace(tmp_path / "store")
    first.open()
    with pytest.raises(InputError, match="Another process"):
        second.open()
    first.close()
    second.open()
    second.close()


def test_a_line_that_was_cut_off_counts_for_nothing(tmp_path):
    work = Workplace(tmp_path / "store")
    work.open()
    work.store.mkdir()
    blocks = [Block(33, [{"number": 1}]), Block(70, [], [{"source": "a", "reason": "b"}])]
    for shard, block in enumerate(blocks):
        work.add(block, shard)
    journal = work.folder / "journal.jsonl"
    whole = journal.read_bytes()
    for cut in range(whole.index(b"\n") + 1, len(whole)):
        journal.write_bytes(whole[:cut])
        assert work.blocks() == blocks[:1]
    journal.write_bytes(whole)
    assert work.blocks() == blocks
    work.close()
