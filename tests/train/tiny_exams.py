"""A store of a few tiny exams whose labels can be seen in every modality."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from octcube_core.checkpoints.card import Alignment, Architecture, ModelCard
from octcube_core.exam import EnFaceImage, Exam, OCTVolume
from train.data.store import StoreLayout, VolumeStore, new_store, write_manifest, write_shard

SHAPE, IMAGE = (6, 32, 32), (32, 32)


def tiny_store(folder: Path, training: int = 8, validation: int = 4, test: int = 0) -> Path:
    """Exams with the binary labels A and B, the class GRADE (healthy, mild, severe), GROWTH and AREA.

    A brightens the upper left quarter of all that is seen, B the lower right one, GROWTH (0 to 1) everything. Exam 1
    has no known B and no GROWTH; exam 2 lacks FAF. A bit of the lesion masks is the A quarter.
    """
    count = training + validation + test
    random = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "eye": [f"eye{number}" for number in range(count)],
            "patient": [f"patient{number}" for number in range(count)],
            "visit": 1,
            "laterality": "OD",
            "device": "tiny",
            "modalities": [["OCT", "FAF", "IR"] for _ in range(count)],
            "split": ["train"] * training + ["validation"] * validation + ["test"] * test,
            "A": [float(number % 2) for number in range(count)],
            "B": [float(number // 2 % 2) for number in range(count)],
            "GROWTH": random.permutation(np.linspace(0, 1, count)),
        }
    )
    for name in ("spacing_z_mm", "spacing_y_mm", "spacing_x_mm"):
        rows[name] = 0.1
    rows["GRADE"] = np.array(["healthy", "mild", "severe"])[
        (3 * rows["GROWTH"]).clip(0, 2.9).astype(int)
    ]
    rows["AREA"] = 10 + 3 * rows["GROWTH"]
    volumes = random.integers(0, 60, (count, *SHAPE), np.uint8)
    images = {name: random.integers(0, 60, (count, *IMAGE), np.uint8) for name in ("FAF", "IR")}
    lesions = np.zeros_like(volumes)
    for number, row in rows.iterrows():
        for picture in (volumes[number], images["FAF"][number], images["IR"][number]):
            picture[..., :16, :16] += np.uint8(80 * row["A"])
            picture[..., 16:, 16:] += np.uint8(80 * row["B"])
            picture += np.uint8(100 * row["GROWTH"])
        lesions[number, :, :16, :16] = row["A"]
    rows.loc[1, ["B", "GROWTH"]] = np.nan
    rows.at[2, "modalities"] = ["OCT", "IR"]
    images["FAF"][2] = 0
    with new_store(
        folder, StoreLayout(count, SHAPE, {"FAF": IMAGE, "IR": IMAGE}, True)
    ) as unfinished:
        write_shard(unfinished, 0, volumes, images, lesions)
        write_manifest(unfinished, rows)
    return folder


def exam_of(store: VolumeStore, row: int) -> Exam:
    """A row as the viewer would read it."""
    names = store.manifest.loc[row, "modalities"]
    return Exam(
        volume=OCTVolume(store.read(row), (0.1, 0.1, 0.1)),
        enface=tuple(
            EnFaceImage(store.image(row, name), name, (0.1, 0.1)) for name in names if name != "OCT"
        ),
        laterality="OD",
        scan_pattern="raster",
        device="tiny",
        format="synthetic",
    )


def volume_card(**facts: object) -> ModelCard:
    """Of volumes of the store's size."""
    return ModelCard("tiny", "1", _architecture((3, 16, 16), (2, 2, 2)), synthetic=True, **facts)


def image_card(modality: str = "FAF", **facts: object) -> ModelCard:
    """Of images of the store's size."""
    shape = _architecture((3, 16, 16), (1, 2, 2), planar=True)
    return ModelCard("tiny", "1", shape, synthetic=True, enface_modalities=(modality,), **facts)


def joint_card(*modalities: str, **facts: object) -> ModelCard:
    """Of volumes and en-face images together."""
    enface = _architecture((3, 16, 16), (1, 2, 2), planar=True)
    return volume_card(alignment=Alignment(enface, modalities, 16, regression_hidden=16), **facts)


def _architecture(
    cube: tuple[int, int, int], grid: tuple[int, int, int], planar: bool = False
) -> Architecture:
    return Architecture(
        32, 2, 2, cube, grid, 64, final_residual=True, head_dropout=0.0, planar=planar
    )
