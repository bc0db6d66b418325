"""Synthetic exams of other organs, for models that are carried over from the retina."""

from __future__ import annotations

from collections.abc import Callable

from octcube_core.phantom.organs.ct import make_ct
from octcube_core.phantom.organs.exam import OrganExam
from octcube_core.phantom.organs.ultrasound import make_ultrasound

ORGANS: dict[str, Callable[..., OrganExam]] = {"ct": make_ct, "ultrasound": make_ultrasound}

__all__ = ["ORGANS", "OrganExam", "make_ct", "make_ultrasound"]
