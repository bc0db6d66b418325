"""A volume of another organ than the eye, with its truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from octcube_core.exam import Exam


@dataclass(frozen=True, eq=False, kw_only=True)
class OrganExam(Exam):
    """A synthetic exam of another organ; ``volume`` is (slice or frame, row, column).

    Attributes
    ----------
    labels : what is true of it, as numbers; NaN where a question does not arise
    masks : dict of finding to bool array of the volume's shape
    """

    labels: Mapping[str, float]
    masks: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
