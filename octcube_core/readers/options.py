"""What a user may say about a file that does not say it itself."""

from __future__ import annotations

from dataclasses import dataclass

from octcube_core.errors import InputError

AXES = "zyx"  # B-scan, depth, width


@dataclass(frozen=True)
class ReadOptions:
    """Options of `octcube_core.readers.read_exam`.

    Attributes
    ----------
    axes : str or None
        Order of the axes of the array in the file: a permutation of 'zyx', z being the B-scans, y the depth and x the
        width; 'yxz' for MATLAB arrays of shape (depth, width, B-scans).
    shape : tuple of 3 int or None
        Number of (B-scans, depth samples, A-scans per B-scan) of a raw file.
    """

    axes: str | None = None
    shape: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        if self.axes is not None:
            object.__setattr__(self, "axes", self.axes.lower())
            if sorted(self.axes.lower()) != sorted(AXES):
                raise InputError(
                    f"The axes {self.axes!r} are not understood; give the order of z (B-scans), y (depth) and x "
                    "(width) in the file, such as yxz."
                )
        if self.shape is not None and (len(self.shape) != 3 or min(self.shape) < 1):
            raise InputError(
                "The shape must be three positive numbers: B-scans, depth samples, A-scans per B-scan."
            )


NO_OPTIONS = ReadOptions()
