"""Exams as an index takes them, made up, and what a search among them must find, computed without the index."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from octcube_core.results import ModelIdentity
from octcube_core.retrieval import EmbeddingIndex, Filters, IndexedExam
from octcube_core.retrieval.records import Identity

FEATURES = 24
MODEL = ModelIdentity("Toy 1.0", "0123456789abcdef", FEATURES, "toy")
OTHER_MODEL = ModelIdentity("Other 2.0", "fedcba9876543210", FEATURES, "other")


def records(count: int, seed: int = 0, features: int = FEATURES) -> list[IndexedExam]:
    """Exams of patients with several visits of both eyes; of some, side, day, patient or device are unknown."""
    random = np.random.default_rng(seed)
    made = []
    for number in range(count):
        patient = None if number % 11 == 0 else f"p{number // 5}"
        side = (None, "OD", "OS", "OD", "OS", "OD", "OS")[number % 7]
        day = None if number % 6 == 0 else 700_000 + number // 2 % 3
        embeddings = {"OCT": random.standard_normal(features)}
        if number % 3:
            embeddings["IR"] = random.standard_normal(features)
        made.append(
            IndexedExam(
                Identity(f"c{seed}-{number}", patient, side, day),
                embeddings,
                None if number % 13 == 0 else f"device {number % 3}",
                (("AMD",), ("AMD", "DME"), ())[number % 3],
                {"AMD": 0.25} if number % 2 else {},
                {name: f"{name} of {number}".encode() for name in embeddings},
                f"place {seed}-{number}".encode(),
                f"stamp {seed}-{number}",
            )
        )
    return made


def passes(record: IndexedExam, filters: Filters, of: Identity | None) -> bool:
    """Whether an exam may be found, word for word as ``Filters`` says it."""
    it = record.identity
    if filters.laterality is not None and it.laterality != filters.laterality:
        return False
    if filters.device is not None and record.device != filters.device:
        return False
    if filters.label is not None and filters.label not in record.labels:
        return False
    if of is None or filters.leave_out is None:
        return True
    if it.content == of.content:
        return False
    if filters.leave_out == "exam" or of.patient is None or it.patient != of.patient:
        return True
    if filters.leave_out == "eye":
        return None not in (it.laterality, of.laterality) and it.laterality != of.laterality
    if filters.leave_out == "visit":
        return None not in (it.visit_day, of.visit_day) and it.visit_day != of.visit_day
    return False


def stored(vector: np.ndarray) -> np.ndarray:
    """A vector as half precision keeps it, of length 1."""
    half = (vector / np.linalg.norm(vector)).astype(np.float32).astype(np.float16).astype(float)
    return half / np.linalg.norm(half)


def brute_force(
    held: Sequence[IndexedExam],
    query: np.ndarray,
    modality: str,
    k: int,
    filters: Filters,
    of: Identity | None,
) -> list[tuple[str, float]]:
    """(content, similarity) of the nearest, the nearest first; equal ones in the order in which they were added."""
    unit = query / np.linalg.norm(query)
    found = [
        (record.identity.content, float(stored(record.embeddings[modality]) @ unit))
        for record in held
        if modality in record.embeddings and passes(record, filters, of)
    ]
    return sorted(found, key=lambda pair: -pair[1])[:k]


def found_by(
    index: EmbeddingIndex, query: np.ndarray, modality: str, k: int, filters: Filters, of
) -> list[tuple[str, float]]:
    neighbours = index.search(query, to=modality, k=k, filters=filters, exam=of)
    return [(each.identity.content, each.similarity) for each in neighbours]


def assert_same(
    found: Sequence[tuple[str, float]], wanted: Sequence[tuple[str, float]], within: float = 1e-5
) -> None:
    assert [content for content, _ in found] == [content for content, _ in wanted]
    np.testing.assert_allclose([s for _, s in found], [s for _, s in wanted], atol=within)


def contents(index: EmbeddingIndex) -> set[str]:
    return {content for _, content, _, _ in index.places()}


def snapshot(index: EmbeddingIndex, held: Sequence[IndexedExam]) -> list:
    """All that some searches show."""
    shown = []
    for record in held:
        for modality in ("OCT", "IR"):
            query = record.embeddings["OCT"]
            shown += [
                dataclasses.astuple(dataclasses.replace(each, similarity=round(each.similarity, 5)))
                for each in index.search(query, to=modality, k=len(held), exam=record.identity)
            ]
    return shown


def filled(path: Path, count: int, seed: int = 0) -> list[IndexedExam]:
    """Make the file of an index of so many exams."""
    made = records(count, seed)
    with EmbeddingIndex(path) as index:
        index.add_records(made, MODEL)
    return made
