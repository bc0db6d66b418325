"""``python -m napari_octcube.bench``: plays a session in the viewer and measures whether it stays fluid.

Needs a screen with OpenGL (xvfb-run makes a virtual one). Figures are ratios or times of this machine, with what is
allowed. The exam is noise of a usual size, the model a ViT-L of random weights, which a process of its own makes.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import napari
import numpy as np
import psutil
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_octcube._widgets.dock import OCTCubeDock
from octcube_core.exam import EnFaceImage, Exam, OCTVolume

SHAPE, SPACING_MM = (61, 496, 768), (0.12, 0.0039, 0.0116)
VIT_LARGE = (24, 1024, 16)  # depth, width, heads
INPUT = (60, 256, 256)
STEPS = 30
EXAMS = 20
PATIENCE_S = 1800.0
_MAKE_MODEL = """
import sys, torch
from octcube_core.checkpoints import save_checkpoint
from octcube_core.models.random_weights import random_model
depth, width, heads = map(int, sys.argv[2:5])
model = random_model(depth, width, heads, {input}, device=torch.device("cpu"), dtype=torch.bfloat16)
save_checkpoint(sys.argv[1], model)
"""


@dataclass(frozen=True)
class Figure:
    """One result; ``allowed`` is the most that it may be, None where nothing was promised."""

    name: str
    value: float
    unit: str
    allowed: float | None = None

    @property
    def ok(self) -> bool | None:
        """Whether the promise is kept."""
        return None if self.allowed is None else self.value <= self.allowed


class StallWatch:
    """The longest time for which the Qt thread did not come back to its event loop.

    In seconds in which this thread computed, so that other programs do not count; what napari spends on creating
    layers is kept apart.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self.longest = self.longest_with_layers = 0.0
        self._creating = False
        self._last = time.thread_time()
        self._timer = QTimer()
        self._timer.setInterval(0)
        self._timer.timeout.connect(self._tick)
        self._timer.start()
        for event in (viewer.layers.events.inserting, viewer.layers.events.removing):
            event.connect(self._on_layer)

    def read(self) -> tuple[float, float]:
        """(longest without, longest with layers created or removed) since the last time this was asked."""
        self._tick()
        found = self.longest, self.longest_with_layers
        self.longest = self.longest_with_layers = 0.0
        return found

    def stop(self) -> None:
        """Watch no more."""
        self._timer.stop()

    def _on_layer(self, event: Any) -> None:
        self._creating = True

    def _tick(self) -> None:
        now = time.thread_time()
        stall, self._last = now - self._last, now
        if self._creating:
            self.longest_with_layers = max(self.longest_with_layers, stall)
        else:
            self.longest = max(self.longest, stall)
        self._creating = False


def noise_exam(seed: int, shape: tuple[int, int, int] = SHAPE) -> Exam:
    """An exam of noise with an infrared image."""
    rng = np.random.default_rng(seed)
    voxels = rng.integers(0, 256, shape, dtype=np.uint8)
    infrared = EnFaceImage(rng.integers(0, 256, (768, 768), dtype=np.uint8), "IR", (0.0116, 0.0116))
    volume = OCTVolume(voxels, SPACING_MM)
    return Exam(volume, (infrared,), laterality="OD", scan_pattern="raster", format="synthetic")


def main(argv: list[str] | None = None) -> int:
    """Measure and print; the exit code is 1 if a promise is not kept."""
    parser = argparse.ArgumentParser(prog="python -m napari_octcube.bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--depth", type=int, default=VIT_LARGE[0], help="layers of the model")
    parser.add_argument(
        "--exams", type=int, default=EXAMS, help="exams to open and close for the memory"
    )
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="octcube-viewer-bench-") as folder:
        os.environ["OCTCUBE_CACHE"] = os.environ["OCTCUBE_CONFIG"] = folder
        figures, details = measure(Path(folder), options.depth, options.exams)
    found = [{**asdict(figure), "ok": figure.ok} for figure in figures]
    if options.json:
        sys.stdout.write(json.dumps({"figures": found, "details": details}, indent=1) + "\n")
    else:
        for figure in figures:
            allowed = "" if figure.allowed is None else f"  (at most {figure.allowed:g})"
            verdict = {True: "ok", False: "NO", None: ""}[figure.ok]
            line = f"{figure.name:<58}{figure.value:9.3g} {figure.unit}{allowed}  {verdict}"
            sys.stdout.write(line.rstrip() + "\n")
    return 1 if any(figure.ok is False for figure in figures) else 0


def measure(folder: Path, depth: int, exams: int) -> tuple[list[Figure], dict[str, Any]]:
    """Play the session; return the figures and how it was played."""
    model = folder / "random.safetensors"
    program = _MAKE_MODEL.format(input=INPUT)
    sizes = (str(depth), *map(str, VIT_LARGE[1:]))
    subprocess.run([sys.executable, "-c", program, str(model), *sizes], check=True)
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1366, 768)
    dock = OCTCubeDock(viewer)
    viewer.window.add_dock_widget(dock, name="OCTCube", area="right")
    try:
        return _Session(viewer, dock).play(model, exams)
    finally:
        dock.client.close()
        viewer.close()


class _Session:
    """What a user does, with a stopwatch."""

    def __init__(self, viewer: napari.Viewer, dock: OCTCubeDock) -> None:
        self._viewer, self._dock = viewer, dock
        self._figures: list[Figure] = []

    def play(self, model: Path, exams: int) -> tuple[list[Figure], dict[str, Any]]:
        session = self._dock.session
        self._wait(lambda: bool(session.device))
        self._open(noise_exam(0, (8, 64, 64)))  # the first layer of all compiles shaders
        exam = noise_exam(1)
        watch = StallWatch(self._viewer)
        start = time.perf_counter()
        self._open(exam)
        opened = time.perf_counter() - start
        outside, with_layers = watch.read()
        idle = self._steps(STEPS)
        session.model = str(model)
        watch.read()
        while_running, seconds = self._run()
        running, finishing = watch.read()
        self._after_the_run(watch)
        stall = max(outside, running)
        self._figures = [
            Figure("longest stall of the Qt thread", 1e3 * stall, "ms", 50),
            Figure(
                "the same, with layers created by napari", 1e3 * max(with_layers, finishing), "ms"
            ),
            Figure("slice step, nothing running", 1e3 * idle, "ms"),
            Figure("slice step during inference / idle", while_running / idle, "x", 1.5),
            Figure("end of inference to overlay", 1e3 * self._overlay_s, "ms", 200),
            *self._figures,
        ]
        watch.stop()
        self._memory(exams)
        details = {"exam": SHAPE, "model": "random ViT", "open_s": opened, "inference_s": seconds}
        return self._figures, details

    def _open(self, exam: Exam) -> None:
        self._dock.open_exam(lambda: exam, "noise")
        self._wait(lambda: self._dock.session.exam is exam)
        self._settle()

    def _steps(self, count: int, until: Callable[[], bool] = lambda: False) -> float:
        """Median seconds from a step of the slider to the drawn slice."""
        seconds = []
        bscans = SHAPE[0]
        for number in range(count):
            if until():
                break
            start = time.perf_counter()
            self._viewer.dims.set_current_step(0, (7 * number) % bscans)
            QApplication.processEvents()
            seconds.append(time.perf_counter() - start)
            self._settle(0.02)
        return statistics.median(seconds)

    def _run(self) -> tuple[float, float]:
        """Analyse and scroll meanwhile; (median step, seconds of the run)."""
        session, dock = self._dock.session, self._dock
        finish = session.finish

        def timed(exam: Exam, analysis: Any) -> None:
            self._ended = time.perf_counter()
            finish(exam, analysis)

        session.finish = timed  # type: ignore[method-assign]
        start = time.perf_counter()
        dock.client.submit()
        self._wait(lambda: session.stage == "Running the network" or bool(session.error))
        step = self._steps(10_000, lambda: session.running is None or bool(session.error))
        self._wait(lambda: session.running is None)
        if session.error:
            raise SystemExit(f"The analysis failed: {session.error}")
        self._wait(lambda: dock.scene.overlay is not None)
        QApplication.processEvents()
        self._overlay_s = time.perf_counter() - self._ended
        del session.finish
        return step, self._ended - start

    def _after_the_run(self, watch: StallWatch) -> None:
        """Switch between the diseases."""
        session = self._dock.session
        assert session.analysis is not None
        self._settle()
        seconds = []
        for _ in range(3):
            for disease in session.analysis.targets:
                start = time.perf_counter()
                session.disease = disease
                QApplication.processEvents()
                seconds.append(time.perf_counter() - start)
                self._settle(0.05)
        self._figures.append(
            Figure("disease switch, median", 1e3 * statistics.median(seconds), "ms", 50)
        )
        self._figures.append(Figure("disease switch, longest", 1e3 * max(seconds), "ms"))

    def _memory(self, exams: int) -> None:
        """Open exams, each of which closes the one before; then bare layers, for what napari keeps of each."""
        viewer = self._viewer

        def bare(seed: int) -> None:
            viewer.layers.clear()
            viewer.add_image(noise_exam(seed).volume.voxels, interpolation2d="linear")
            self._settle()

        opened = self._growth(lambda seed: self._open(noise_exam(seed)), exams)
        own = self._growth(bare, exams)
        self._figures += [
            Figure(f"memory after {exams} more exams", 100 * opened, "%", 5),
            Figure(f"memory after {exams} bare layers of napari", 100 * own, "%"),
        ]

    @staticmethod
    def _growth(work: Callable[[int], None], times: int) -> float:
        """By which part of the memory a process grows; the first few times fill what is filled once."""
        process = psutil.Process()
        for number in range(6):
            work(100 + number)
        gc.collect()  # an exam is in cycles: one that waits for the collector would count as 4 %
        before = process.memory_info().rss
        for number in range(times):
            work(200 + number)
        gc.collect()
        return process.memory_info().rss / before - 1

    def _wait(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not condition():
            QApplication.processEvents()
            time.sleep(0.001)
            if time.monotonic() > end:
                raise SystemExit("What was waited for did not happen.")

    def _settle(self, seconds: float = 0.3) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            QApplication.processEvents()
            time.sleep(0.001)


if __name__ == "__main__":
    sys.exit(main())
