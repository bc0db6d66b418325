"""The matrix in memory after any adding and removing, and the votes of neighbours."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from index_records import passes

from octcube_core.retrieval import Filters, IndexedExam, Neighbour, label_votes
from octcube_core.retrieval.matrix import NO_DAY, Codebook, Matrix
from octcube_core.retrieval.records import Identity

DIMENSIONS = 6
identities = st.builds(
    Identity,
    content=st.just(""),
    patient=st.sampled_from([None, "a", "b", "c"]),
    laterality=st.sampled_from([None, "OD", "OS"]),
    visit_day=st.sampled_from([None, 1, 2]),
)
filters = st.builds(
    Filters,
    laterality=st.sampled_from([None, "OD", "OS"]),
    device=st.sampled_from([None, "x", "y", "unheard of"]),
    label=st.sampled_from([None, "AMD"]),
    leave_out=st.sampled_from([None, "exam", "eye", "visit", "patient"]),
)
exams = st.tuples(identities, st.sampled_from([None, "x", "y"]), st.sampled_from([(), ("AMD",)]))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(exams, min_size=1, max_size=40)),
        st.tuples(st.just("remove"), st.lists(st.integers(0, 80), max_size=15)),
        st.tuples(st.just("reserve"), st.integers(0, 50)),
    ),
    max_size=8,
)


@settings(deadline=None, max_examples=150)
@given(steps, st.lists(st.tuples(filters, st.one_of(st.none(), identities)), max_size=4), st.data())
def test_any_adding_and_removing_finds_what_brute_force_finds(steps, asked, data):
    # Few vectors, so that many are equal.
    vectors = np.random.default_rng(0).standard_normal((5, DIMENSIONS)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    codes = Codebook()
    matrix = Matrix(DIMENSIONS, codes)
    held: dict[int, tuple[IndexedExam, np.ndarray]] = {}
    number = 0
    for what, given_ in steps:
        if what == "reserve":
            matrix.reserve(given_)
        elif what == "remove":
            matrix.remove(np.array(sorted(set(given_)), np.int64))
            held = {exam: each for exam, each in held.items() if exam not in given_}
        else:
            added = {}
            for identity, device, labels in given_:
                identity = dataclasses.replace(identity, content=str(number))
                added[number] = IndexedExam(identity, {}, device, labels), vectors[number % 5]
                number += 1
            who = [record.identity for record, _ in added.values()]
            columns = {
                "item": [1000 + exam for exam in added],
                "exam": list(added),
                "patient": codes.patient.of([each.patient for each in who]),
                "laterality": codes.laterality.of([each.laterality for each in who]),
                "device": codes.device.of([record.device for record, _ in added.values()]),
                "visit_day": [NO_DAY if i.visit_day is None else i.visit_day for i in who],
            }
            matrix.extend(np.stack([vector for _, vector in added.values()]), columns)
            held |= added
    assert len(matrix) == len(held)
    for filters, of in asked:
        exam = None
        if of is not None and held and data.draw(st.booleans()):
            exam = data.draw(st.sampled_from(sorted(held)))
            of = dataclasses.replace(of, content=str(exam))
        labelled = None
        if filters.label is not None:
            labelled = np.array([e for e, (r, _) in held.items() if filters.label in r.labels])
        k = data.draw(st.integers(0, 30))
        found = matrix.nearest(vectors[0], k, filters, of, exam, labelled)
        # Product by product, as the matrix multiplies: equal vectors then are exactly equal.
        wanted = [
            (1000 + e, float(vector @ vectors[0]))
            for e, (record, vector) in held.items()
            if passes(record, filters, of)
        ]
        wanted = sorted(wanted, key=lambda pair: (-round(pair[1], 5), pair[0]))[:k]
        assert [item for item, _ in found] == [item for item, _ in wanted]
        assert [s for _, s in found] == pytest.approx([s for _, s in wanted], abs=1e-5)


def neighbour(exam: int, *labels: str) -> Neighbour:
    return Neighbour(0.5, 10 * exam, exam, "OCT", Identity(str(exam)), None, labels, {}, None)


def test_votes_count_each_labelled_exam_once():
    found = [
        neighbour(1, "AMD", "DME"),
        neighbour(2, "DME"),
        neighbour(2, "DME"),  # by its other image
        neighbour(3),  # unknown, not healthy
        neighbour(4, "AMD"),
        neighbour(5, "CNV"),
    ]
    votes = label_votes(found)
    assert [(vote.label, vote.count, vote.of) for vote in votes] == [
        ("AMD", 2, 4),
        ("DME", 2, 4),
        ("CNV", 1, 4),
    ]
    assert votes[0].share == 0.5
    assert label_votes([neighbour(3)]) == ()
    assert label_votes([]) == ()
