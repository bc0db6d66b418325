"""Synthetic eyes with ground truth: sample data, tests, and the benchmark of every claim about learning."""

from octcube_core.phantom.cohort import VisitPlan, make_cohort, make_ga_eye, make_visit
from octcube_core.phantom.device import STYLES
from octcube_core.phantom.eye import (
    BENCHMARK_DIFFICULTY,
    DISEASES,
    GroundTruth,
    SyntheticExam,
    make_exam,
    sample_diseases,
)

__all__ = [
    "BENCHMARK_DIFFICULTY",
    "DISEASES",
    "STYLES",
    "GroundTruth",
    "SyntheticExam",
    "VisitPlan",
    "make_cohort",
    "make_exam",
    "make_ga_eye",
    "make_visit",
    "sample_diseases",
]
