"""File > Open Sample: a synthetic eye for each disease and a healthy one."""

from __future__ import annotations

from functools import partial
from typing import Any

from napari_octcube._arrivals import arrivals
from napari_octcube._layers import exam_layer_data
from octcube_core import phantom


def synthetic_eye(seed: int, disease: str | None = None) -> list[tuple[Any, ...]]:
    """A synthetic eye with one disease, or a healthy one, as layer data."""
    exam = phantom.make_exam(seed, diseases=() if disease is None else (disease,))
    arrivals.announced.emit()
    return [exam_layer_data(exam, name=f"Synthetic eye: {disease or 'healthy'}")]


healthy = partial(synthetic_eye, 10)
dme = partial(synthetic_eye, 11, "DME")
amd = partial(synthetic_eye, 12, "AMD")
poag = partial(synthetic_eye, 13, "POAG")
erm_mh = partial(synthetic_eye, 14, "ERM/MH")
dr = partial(synthetic_eye, 15, "DR")
pvd = partial(synthetic_eye, 16, "PVD")
crao_crvo = partial(synthetic_eye, 17, "CRAO/CRVO")
rnv = partial(synthetic_eye, 18, "RNV")
