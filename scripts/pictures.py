"""``make pictures``: a picture of every tab, view and dialog into docs/pictures, on synthetic eyes.

Needs a screen with OpenGL (xvfb-run makes a virtual one). Plays what a user does in a window of 1366 x 768, the
smallest on which everything must be usable. Look at the pictures: no program sees cut text or poor contrast.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

SIZE = (1366, 768)
COLOURS = 256  # a palette keeps each picture near 80 kB
DISEASES = ("DME", "ERM/MH")
SEED = 3
EYES_IN_ARCHIVE = 24
PATIENCE_S = 300.0


def main() -> int:
    """Play the session once and write all pictures, or those whose names are given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--theme", choices=("dark", "light"), default="dark")
    parser.add_argument("names", nargs="*", help="pictures to write (default: all)")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="octcube-pictures-") as scratch:
        folder = Path(scratch)
        # nothing of the user's own settings, archives and results is shown, and none is changed
        os.environ["OCTCUBE_CACHE"] = os.environ["OCTCUBE_CONFIG"] = str(folder / "own")
        os.environ["NAPARI_CONFIG"] = str(folder / "napari.yaml")
        Tour(folder, options.out, options.theme, options.names).play()
    return 0


class Tour:
    """A viewer, and the way through it.

    Parameters
    ----------
    folder : Path
        For files that the tour opens.
    out : Path
    theme : 'dark' or 'light'
    names : list of str
        The pictures to write; empty for all.
    """

    def __init__(self, folder: Path, out: Path, theme: str, names: list[str]) -> None:
        import napari

        from napari_octcube._widgets.dock import OCTCubeDock

        napari.settings.get_settings().appearance.theme = theme
        self.folder, self.out, self.names = folder, out, names
        self.viewer = napari.Viewer(title="OCTCube", show=True)
        self.viewer.window.resize(*SIZE)
        _, dock = self.viewer.window.add_plugin_dock_widget("napari-octcube", "OCTCube")
        assert isinstance(dock, OCTCubeDock)
        self.dock = dock

    def play(self) -> None:
        """Go the whole way."""
        try:
            self._exam()
            self._views()
            self._localizer()
            self._report()
            self._compare()
            self._similar()
            self._dialogs()
        finally:
            self.dock.client.close()
            self.viewer.close()

    def _exam(self) -> None:
        from octcube_core import phantom

        dock = self.dock
        self.take("empty")
        dock.open_exam(lambda: phantom.make_exam(SEED, diseases=DISEASES), "a synthetic eye")
        self.wait(lambda: dock.session.exam is not None and bool(dock.session.device))
        self.take("opened")
        dock.client.submit()
        self.wait(lambda: dock.session.running is not None)
        self.take("running", seconds=0.2)
        self.wait(lambda: dock.session.analysis is not None)
        self.take("analysis")

    def _views(self) -> None:
        views = self.dock.views
        for name, view in (("en-face", "enface"), ("slow-scan", "slow"), ("3d", "3d")):
            views.show(view)
            self.take(f"view-{name}", seconds=3)
        views.show("enface")
        views.choose_projection("mean")
        self.take("view-projection", seconds=3)
        views.show("bscan")

    def _localizer(self) -> None:
        self.dock.setCurrentWidget(self.dock.localizer_tab)
        self.dock.session.show_etdrs = True
        self.take("localizer", seconds=2)

    def _report(self) -> None:
        self.dock.setCurrentWidget(self.dock.report_tab)
        self.settle(1)
        self.wait(lambda: not self.dock.report_tab.busy)
        self.take("report", seconds=1)

    def _compare(self) -> None:
        dock = self.dock
        plans = self._cohort(1)
        right, left = (_visit(plan) for plan in plans[:2])
        dock.setCurrentWidget(dock.analysis_tab)
        dock.open_exam(lambda: right, "the right eye")
        self.wait(lambda: dock.session.exam is right)
        dock.client.submit()
        self.wait(lambda: dock.session.analysis is not None)
        dock.beside.show(left, "Beside: the left eye")
        self.wait(lambda: dock.comparison.state.analysis is not None)
        self.take("compare", seconds=2)
        dock.beside.close()

    def _similar(self) -> None:
        from octcube_core import read_exam

        dock, exams, archive = self.dock, self.folder / "exams", self.folder / "eyes.octindex"
        self._write_archive(exams, archive)
        dock.similar.open_archive(str(archive))
        dock.setCurrentWidget(dock.similar_tab)
        self.wait(lambda: dock.similar.state.archive is not None)
        dock.open_exam(lambda: read_exam(exams / "eye00"), "an eye")
        self.settle(2)
        dock.similar_tab.question.find_button.click()
        self.wait(lambda: dock.similar.state.found is not None)
        self.take("similar-eyes", seconds=4)

    def _dialogs(self) -> None:
        dock, scans = self.dock, self.folder / "scans"
        self._write_scans(scans)
        dock.setCurrentWidget(dock.analysis_tab)
        dock.open_path(scans)
        self.wait(lambda: dock.chooser is not None)
        self.settle(6)
        self.take("chooser", widget=dock.chooser)
        dock.chooser.reject()
        dock.open_path(scans / "radial")
        self.settle(2)
        dock.setCurrentWidget(dock.localizer_tab)
        self.take("localizer-radial", seconds=3)
        dock.analyse_folder(self.folder / "exams")
        dialog = dock.batch_dialog
        assert dialog is not None
        dialog.start_button.click()
        self.settle(2)
        self.wait(lambda: dialog.start_button.isEnabled())
        dialog.view.selectRow(2)
        for shown in (dialog.folder_box, dialog.table_box, dialog.note_label):
            shown.setText(shown.text().replace(str(self.folder), "…"))  # of no reader's concern
        self.take("batch", widget=dialog, seconds=1)
        dialog.close()
        self._settings()

    def _settings(self) -> None:
        from qtpy.QtWidgets import QApplication, QDialog

        from napari_octcube._widgets.preferences import show_preferences

        show_preferences(self.viewer)
        self.settle(1)
        (preferences,) = (
            window
            for window in QApplication.topLevelWidgets()
            if isinstance(window, QDialog) and window.windowTitle() == "Preferences"
        )
        self.take("settings", widget=preferences, seconds=1)
        preferences.reject()

    @staticmethod
    def _cohort(patients: int) -> list:
        from octcube_core import phantom

        return phantom.make_cohort(
            11, patients, visits=(1, 1), styles={"spectralis": 1}, missing={}
        )

    def _write_archive(self, exams: Path, archive: Path) -> None:
        from octcube_core.writers import write_exam

        lines = ["path,labels"]
        for number, plan in enumerate(self._cohort(EYES_IN_ARCHIVE // 2)):
            exam = _visit(plan)
            write_exam(exam, exams / f"eye{number:02}", "dicom")
            lines.append(f"eye{number:02},{';'.join(exam.truth.diseases)}")
        labels = exams / "labels.csv"
        labels.write_text("\n".join(lines) + "\n")
        command = [sys.executable, "-m", "octcube_core.cli", "index", str(exams), "--db"]
        command += [str(archive), "--model", "demo-coep", "--labels", str(labels)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def _write_scans(self, folder: Path) -> None:
        from octcube_core import phantom
        from octcube_core.writers import write_exam

        scans = {
            "raster": {},
            "raster-turned": {"rotation_deg": 20.0},
            "radial": {"scan_pattern": "radial", "shape": (12, 256, 256)},
            "circle": {"scan_pattern": "circle"},
            "line": {"scan_pattern": "line"},
            "fellow-eye": {"laterality": "OS", "style": "cirrus"},
        }
        for name, options in scans.items():
            facts = {"laterality": "OD", "diseases": DISEASES, **options}
            write_exam(phantom.make_exam(SEED, **facts), folder / name, "dicom")

    def take(self, name: str, *, widget: object = None, seconds: float = 0.7) -> None:
        """Write a picture of the window, or of a widget, once it has had some seconds to settle."""
        if self.names and name not in self.names:
            return
        import numpy as np
        from PIL import Image

        self.settle(seconds)
        path = self.out / f"{name}.png"
        if widget is None:
            pixels = np.asarray(self.viewer.screenshot(canvas_only=False, flash=False))[..., :3]
            Image.fromarray(np.ascontiguousarray(pixels)).save(path)
        else:
            widget.grab().save(str(path))  # type: ignore[attr-defined]
        with Image.open(path) as picture:
            # the method that keeps colours of few pixels, such as the overlay's
            small = picture.convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE)
        small.save(path, optimize=True)
        print(path)  # noqa: T201

    def settle(self, seconds: float) -> None:
        """Let the viewer work."""
        end = time.monotonic() + seconds
        for _ in _until(lambda: time.monotonic() > end):
            pass

    def wait(self, condition: Callable[[], bool]) -> None:
        """Let the viewer work until something is so."""
        end = time.monotonic() + PATIENCE_S
        for _ in _until(condition):
            if error := self.dock.session.error:
                raise SystemExit(f"The viewer said: {error}")
            if time.monotonic() > end:
                raise SystemExit("What was waited for did not happen.")


def _visit(plan: object) -> object:
    from octcube_core import phantom

    return phantom.make_visit(plan)


def _until(condition: Callable[[], bool]) -> Iterator[None]:
    from qtpy.QtWidgets import QApplication

    while not condition():
        QApplication.processEvents()
        time.sleep(0.005)
        yield


if __name__ == "__main__":
    sys.exit(main())
