"""Valid files of single manufacturers, and the small real files where they are to be had."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.core import heyex_files as heyex
from tests.core import topcon_files as topcon
from tests.fuzz.sample import Sample, fundus, of_files, of_folder, voxels


def _scans() -> dict[str, heyex.Scan]:
    return {"raster": heyex.raster(3), "radial": heyex.radial(4), "circle": heyex.circle("OS")}


def vol_files(folder: Path) -> Iterator[Sample]:
    for name, scan in _scans().items():
        heyex.write_vol(folder / f"{name}.vol", scan)
        yield of_files("vol", folder, f"{name}.vol")


def xml_exports(folder: Path) -> Iterator[Sample]:
    kinds = {"raster": "Volume", "radial": "Radial", "circle": "Circle"}
    for name, scan in _scans().items():
        root = folder / name
        root.mkdir()
        heyex.write_xml(root / "exam.xml", heyex.xml_series(root, scan, kinds[name]))
        yield of_files("xml", root, "exam.xml", sorted(file.name for file in root.glob("*.tif")))


def e2e_files(folder: Path) -> Iterator[Sample]:
    items = [heyex.patient_item()]
    for series, scan in enumerate((heyex.raster(3), heyex.raster(4, eye="OS")), 31):
        scan.lines = [(-5.0, 1.0 - row, 5.0, 1.0 - row) for row in range(len(scan.lines))]
        codes = heyex.random_codes(scan.values.shape)
        items.extend(heyex.e2e_items(scan, series, codes))
        (folder / f"exam{series}.e2e").write_bytes(heyex.e2e_bytes(items))
        yield of_files("e2e", folder, f"exam{series}.e2e")


def topcon_files(folder: Path) -> Iterator[Sample]:
    stack = voxels()
    topcon.write_fda(folder / "packed.fda", stack)
    picture = np.repeat(fundus()[..., None], 3, axis=2)
    topcon.write(
        folder / "raw.fds",
        topcon.who(1),
        topcon.scan_raw(voxels(np.uint16)),
        topcon.parameters(),
        topcon.raw_picture("@IMG_OBS", picture),
    )
    yield of_files("topcon", folder, "packed.fda")
    yield of_files("topcon", folder, "raw.fds")


def cirrus_files(folder: Path) -> Iterator[Sample]:
    data = np.resize(voxels(), (4, 1024, 16)).tobytes()
    name = "PX1_Macular Cube 512x128_1-2-2020_10-10-10_OD_sn1_cube_z.img"
    (folder / name).write_bytes(data)
    yield of_files("img", folder, name, shape=[4, 1024, 16])


def real_files(folder: Path) -> Iterator[Sample]:
    """The files of the folder that OCTCUBE_TEST_DATA names, if there is one."""
    beside = Path(__file__).parents[2] / "../shared/data"
    source = Path(os.environ.get("OCTCUBE_TEST_DATA", beside)).resolve()
    kinds = {".vol": "vol", ".e2e": "e2e", ".fda": "topcon", ".fds": "topcon", ".mat": "mat"}
    if not source.is_dir():
        return
    for file in sorted(source.rglob("*")):
        kind = kinds.get(file.suffix.lower())
        if kind is not None:
            shutil.copyfile(file, folder / file.name)
            yield _real(of_files(kind, folder, file.name))
        elif file.suffix.lower() == ".xml":
            root = folder / file.parent.name
            root.mkdir()
            for part in file.parent.iterdir():
                shutil.copyfile(part, root / part.name)
            pictures = sorted(part.name for part in root.iterdir() if part.suffix != ".xml")
            yield _real(of_files("xml", root, file.name, pictures))
    pictures = sorted(source.glob("hcms*/oct_00[0-3].png"))
    if pictures:
        root = folder / "pictures"
        root.mkdir()
        for picture in pictures:
            shutil.copyfile(picture, root / picture.name)
        yield _real(of_folder("folder", root))


def _real(sample: Sample) -> Sample:
    return replace(sample, real=True)
