"""An archive on a plane: eyes that look alike lie near each other. By principal components, or by UMAP.

``python -m octcube_core.retrieval.archive_map`` makes it in a process of its own, because a hundred thousand eyes take
seconds and the viewer must not wait.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import InputError, OCTCubeError
from octcube_core.retrieval.index import EmbeddingIndex
from octcube_core.whole_file import whole_file

Floats = NDArray[np.float32]
Method = Literal["pca", "umap"]
METHODS: tuple[Method, ...] = ("pca", "umap")
MOST = {"pca": 200_000, "umap": 20_000}  # eyes; of more, so many spread over the archive
NEIGHBOURS = 15  # UMAP's own default


@dataclass(frozen=True, eq=False)
class ArchiveMap:
    """Where eyes lie on the plane.

    Attributes
    ----------
    exams : int64 array, shape (n,)
        Their numbers in the index.
    points : float32 array, shape (n, 2)
    mean, axes : float32 arrays, shape (features,) and (features, 2), or None
        Of principal components, by which another eye finds its place.
    """

    exams: NDArray[np.int64]
    points: Floats
    mean: Floats | None = None
    axes: Floats | None = None

    def place(self, vector: Floats, near: dict[int, float]) -> Floats | None:
        """Where an eye lies that need not be on the map.

        Parameters
        ----------
        vector : its embedding
        near : similarity of its neighbours by the number of the exam, for a map without axes: the eye then lies in
            their midst

        Returns
        -------
        array of shape (2,), or None if no neighbour is on the map
        """
        if self.mean is not None and self.axes is not None:
            unit = vector / np.linalg.norm(vector)
            place: Floats = (unit - self.mean) @ self.axes
            return place
        there = np.isin(self.exams, list(near))
        if not there.any():
            return None
        weights = np.array([max(near[int(exam)], 1e-3) for exam in self.exams[there]])
        middle: Floats = np.average(self.points[there], axis=0, weights=weights).astype(np.float32)
        return middle


def make_map(index: EmbeddingIndex, modality: str, method: Method = "pca") -> ArchiveMap:
    """Lay out the eyes of one modality.

    Principal components of the embeddings (Pearson 1901), or UMAP (McInnes et al., arXiv:1802.03426) with the cosine
    distance; always the same map for the same archive.

    Raises
    ------
    InputError
        If there are fewer than three eyes, the method is unknown, or umap-learn is not installed.
    """
    if method not in METHODS:
        raise InputError(f"A map is made by {' or '.join(METHODS)}, not {method!r}.")
    exams, vectors = index.vectors(modality, most=MOST[method])
    if len(exams) < 3:
        raise InputError(
            f"A map needs at least three eyes; {index.where} has {len(exams)} with {modality}."
        )
    numbers = np.array(exams, np.int64)
    if method == "umap":
        return ArchiveMap(numbers, _umap(vectors))
    mean = vectors.mean(axis=0)
    centred = vectors - mean
    _, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64))  # in ascending order
    leading = axes[:, :-3:-1].astype(np.float32)
    # The sign of an axis is arbitrary; this one does not depend on the library.
    leading *= np.sign(leading[np.abs(leading).argmax(axis=0), [0, 1]])
    return ArchiveMap(numbers, centred @ leading, mean, leading)


def _umap(vectors: Floats) -> Floats:
    try:
        from umap import UMAP
    except ImportError:
        raise InputError(
            "UMAP is not installed; install napari-octcube[map], or choose PCA."
        ) from None
    reducer = UMAP(
        n_neighbors=min(NEIGHBOURS, len(vectors) - 1), metric="cosine", random_state=0, n_jobs=1
    )
    points: Floats = np.asarray(reducer.fit_transform(vectors), np.float32)
    return points


def write_map(archive_map: ArchiveMap, path: Path) -> None:
    """Write a map as .npz; it appears under its name only when it is whole."""
    none = np.empty(0, np.float32)
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez(
            file,
            exams=archive_map.exams,
            points=archive_map.points,
            mean=none if archive_map.mean is None else archive_map.mean,
            axes=none if archive_map.axes is None else archive_map.axes,
        )


def read_map(path: Path) -> ArchiveMap:
    """Read what ``write_map`` wrote."""
    with np.load(path) as found:
        mean, axes = (found[name] if found[name].size else None for name in ("mean", "axes"))
        return ArchiveMap(found["exams"], found["points"], mean, axes)


def main(argv: list[str] | None = None) -> int:
    """Make a map and write it; what is wrong is said in one line, with exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m octcube_core.retrieval.archive_map")
    parser.add_argument("--db", required=True)
    parser.add_argument("--modality", required=True)
    parser.add_argument("--method", choices=METHODS, default="pca")
    parser.add_argument("--out", required=True, type=Path)
    arguments = parser.parse_args(argv)
    try:
        with EmbeddingIndex(arguments.db, create=False) as index:
            write_map(make_map(index, arguments.modality, arguments.method), arguments.out)
    except OCTCubeError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
