"""Saliency maps as OME-TIFF, placed in the exam in micrometres."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import tifffile
from numpy.typing import NDArray

from octcube_core import __version__
from octcube_core.exam import Exam, Spacing
from octcube_core.results import DISCLAIMER, Analysis

UM_PER_MM = 1000.0


def write_saliency(path: Path, exam: Exam, analysis: Analysis) -> None:
    """Write the maps of the volume at token resolution, axes CZYX, one channel per target.

    PhysicalSizeX/Y/Z is the size of a token and PositionX/Y/Z of each plane the centre of its first token, both in
    micrometres, from the centre of voxel (0, 0, 0) of the exam. An axis of unknown spacing has neither. The same
    step and offset in voxels are in the MapAnnotation, whatever the spacing.
    """
    grid = analysis.grid
    notes = {
        "TokenStepVoxelsZYX": _numbers(grid.step_voxels),
        "FirstTokenVoxelZYX": _numbers(grid.origin_voxels),
        "VolumeShapeZYX": _numbers(grid.volume_shape),
        "PeakBeforeScaling": _numbers(analysis.saliency_peak),
    }
    metadata = {
        **_metadata(analysis, "CZYX", "Saliency", notes),
        **_places(
            "ZYX",
            grid.step_voxels,
            grid.origin_voxels,
            exam.volume.spacing_mm,
            analysis.saliency.shape,
        ),
    }
    _write(path, analysis.saliency, metadata)


def write_enface_saliency(path: Path, exam: Exam, analysis: Analysis, modality: str) -> None:
    """Write the maps of an en-face image at the resolution of its patches, axes CYX, one channel per target.

    Sizes and places are as in `write_saliency`, from the centre of pixel (0, 0) of the image.
    """
    found = analysis.enface[modality]
    notes = {
        "Modality": modality,
        "PatchStepPixelsYX": _numbers(found.grid.step_pixels),
        "FirstPatchPixelYX": _numbers(found.grid.origin_pixels),
        "ImageShapeYX": _numbers(found.grid.image_shape),
        "PeakBeforeScaling": _numbers(found.peaks),
    }
    image = next(image for image in exam.enface if image.modality == modality)
    metadata = {
        **_metadata(analysis, "CYX", f"Saliency of the {modality} image", notes),
        **_places(
            "YX",
            found.grid.step_pixels,
            found.grid.origin_pixels,
            image.spacing_mm,
            found.maps.shape,
        ),
    }
    _write(path, found.maps, metadata)


def _metadata(analysis: Analysis, axes: str, name: str, notes: dict[str, str]) -> dict[str, Any]:
    description = f"{analysis.method} saliency by {analysis.card.title}. {DISCLAIMER}."
    return {
        "axes": axes,
        "Creator": f"napari-octcube {__version__}",
        "UUID": str(uuid4()),  # tifffile's own would hold this computer's network address
        "Name": name,
        "Description": description,
        "Channel": {"Name": list(analysis.targets)},
        "MapAnnotation": {
            "Namespace": "napari-octcube/saliency",
            "Model": analysis.card.title,
            "Disclaimer": DISCLAIMER,
            "Layer": analysis.layer,
            "Notes": " ".join(analysis.run_notes),
            "Targets": "; ".join(analysis.name_of(target) for target in analysis.targets),
            **notes,
        },
    }


def _places(
    axes: str,
    steps: NDArray[np.float64],
    origins: NDArray[np.float64],
    spacings: Sequence[Spacing],
    shape: tuple[int, ...],
) -> dict[str, Any]:
    """Size of a token and place of each plane's first one, along the axes of known spacing."""
    targets, layers = shape[0], shape[1] if len(shape) == 4 else 1
    metadata: dict[str, Any] = {"Plane": {}}
    for name, step_samples, origin_samples, spacing in zip(
        axes, steps, origins, spacings, strict=True
    ):
        if spacing is None:
            continue
        step = float(step_samples) * spacing * UM_PER_MM
        origin = float(origin_samples) * spacing * UM_PER_MM
        metadata[f"PhysicalSize{name}"] = step
        metadata[f"PhysicalSize{name}Unit"] = "µm"
        along = [origin + step * layer * (name == "Z") for layer in range(layers)]
        metadata["Plane"][f"Position{name}"] = along * targets
        metadata["Plane"][f"Position{name}Unit"] = ["µm"] * layers * targets
    return metadata


def _write(path: Path, maps: NDArray[np.float32], metadata: dict[str, Any]) -> None:
    tifffile.imwrite(
        path,
        np.asarray(maps, np.float32),
        ome=True,
        photometric="minisblack",
        compression="zlib",
        metadata=metadata,
    )


def _numbers(values: Any) -> str:
    return " ".join(f"{value:.9g}" for value in values)
