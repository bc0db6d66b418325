"""Synthetic eyes with ground truth: sample data, tests, and the benchmark of every claim about learning."""

from octcube_core.phantom.eye import (
    DISEASES,
    GroundTruth,
    SyntheticExam,
    make_exam,
    sample_diseases,
)

__all__ = ["DISEASES", "GroundTruth", "SyntheticExam", "make_exam", "sample_diseases"]
