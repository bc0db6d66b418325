"""An index in SQLite and in PostgreSQL: the same calls find the same exams, those that brute force finds."""

from __future__ import annotations

import dataclasses
import itertools
import os

import numpy as np
import pytest
from index_records import (
    FEATURES,
    MODEL,
    OTHER_MODEL,
    assert_same,
    brute_force,
    contents,
    found_by,
    records,
    stored,
)

from octcube_core.errors import EmbeddingIndexError, InputError
from octcube_core.results import ExamEmbedding
from octcube_core.retrieval import EmbeddingIndex, Filters
from octcube_core.retrieval.records import Identity, Location

EXAMS = records(90)
ALL = [
    Filters(laterality, device, label, leave_out)
    for laterality, device, label, leave_out in itertools.product(
        (None, "OD"), (None, "device 1"), (None, "DME"), (None, "exam", "eye", "visit", "patient")
    )
]


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request, tmp_path, configuration) -> str:
    if request.param == "postgresql":
        return request.getfixturevalue("postgres_url")
    return str(tmp_path / "eyes.octindex")


@pytest.fixture
def index(address):
    with EmbeddingIndex(address) as opened:
        opened.add_records(EXAMS, MODEL)
        yield opened


def test_every_filter_lets_through_what_brute_force_lets_through(index):
    # Of the first 60 in turn patient, side and day are unknown; the last query is in no index.
    stranger = dataclasses.replace(EXAMS[1].identity, content="new", patient="nobody")
    lone_side = dataclasses.replace(EXAMS[1].identity, content="new", laterality=None)
    no_day = dataclasses.replace(EXAMS[1].identity, content="new", visit_day=None)
    who = [EXAMS[number].identity for number in (0, 1, 6, 7, 11, 33)]
    for number, of in enumerate([*who, None, stranger, lone_side, no_day, Identity("c0-5")]):
        query = EXAMS[number].embeddings["OCT"]
        for filters in ALL:
            for modality in ("OCT", "IR"):
                wanted = brute_force(EXAMS, query, modality, 7, filters, of)
                assert_same(found_by(index, query, modality, 7, filters, of), wanted)


def test_leave_out_eye_keeps_the_fellow_eye_where_no_eye_of_the_queried_side_is_held(address):
    left = [each for each in EXAMS if each.identity.laterality == "OS"]
    of = dataclasses.replace(left[0].identity, content="new", laterality="OD")
    filters = Filters(leave_out="eye")
    with EmbeddingIndex(address) as index:
        index.add_records(left, MODEL)
        found = found_by(index, left[0].embeddings["OCT"], "OCT", 3, filters, of)
    assert found[0][0] == left[0].identity.content
    assert_same(found, brute_force(left, left[0].embeddings["OCT"], "OCT", 3, filters, of))


def test_more_neighbours_than_there_are_gives_all_of_them_in_order(index):
    query = EXAMS[3].embeddings["OCT"]
    found = found_by(index, query, "OCT", 5000, Filters(leave_out=None), None)
    assert_same(found, brute_force(EXAMS, query, "OCT", 5000, Filters(leave_out=None), None))
    assert len(found) == len(EXAMS)
    assert index.search(query, to="FAF") == []


def test_equal_ones_come_in_the_order_in_which_they_were_added_also_after_a_change(address):
    same = [dataclasses.replace(each, embeddings=EXAMS[0].embeddings) for each in EXAMS[:12]]
    with EmbeddingIndex(address) as index, EmbeddingIndex(address) as late:
        index.add_records(same, MODEL)
        index.search(same[0].embeddings["OCT"])
        index.label(index.places()[2][0], ["ERM"])
        for opened in (index, late):
            found = opened.search(same[0].embeddings["OCT"], k=5)
            assert [each.identity.content for each in found] == [f"c0-{n}" for n in range(5)]
            assert [each.similarity for each in found] == pytest.approx([1.0] * 5, abs=1e-3)


def test_a_neighbour_shows_what_was_added(index):
    (found,) = index.search(EXAMS[4].embeddings["OCT"], k=1)
    assert found.identity == EXAMS[4].identity
    assert (found.device, found.labels) == (EXAMS[4].device, ("AMD", "DME"))
    assert found.modality == "OCT"
    assert index.thumbnails([found]) == {found.item: b"OCT of 4"}
    (scored,) = index.search(EXAMS[5].embeddings["OCT"], k=1)
    assert scored.scores == {"AMD": 0.25}
    assert scored.location is None  # it was sealed with no secret of this index


def test_what_an_index_holds(index):
    images = sum("IR" in each.embeddings for each in EXAMS)
    assert index.counts() == {"exams": 90, "IR": images, "OCT": 90}
    assert len(index) == 90
    assert index.distinct("modality") == ["IR", "OCT"]
    assert index.distinct("device") == ["device 0", "device 1", "device 2"]
    assert index.distinct("label") == ["AMD", "DME"]
    assert index.model == MODEL
    index.check()


def test_vectors_are_those_added_and_a_part_of_them_is_spread(index):
    exams, vectors = index.vectors("OCT")
    assert exams == sorted(exams)
    np.testing.assert_allclose(
        vectors, [stored(each.embeddings["OCT"]) for each in EXAMS], atol=1e-6
    )
    some, part = index.vectors("OCT", most=40)
    assert 20 <= len(some) <= 40
    assert set(some) <= set(exams)
    assert max(np.diff(some)) <= 4
    np.testing.assert_array_equal(part, vectors[[exams.index(each) for each in some]])
    nothing, none = index.vectors("FAF")
    assert (nothing, none.shape) == ([], (0, FEATURES))


def test_the_same_exam_again_is_one_with_what_is_new(index):
    again = dataclasses.replace(
        EXAMS[0],
        identity=dataclasses.replace(EXAMS[0].identity, patient="p0", laterality="OS"),
        embeddings={"OCT": -EXAMS[0].embeddings["OCT"], "FAF": EXAMS[1].embeddings["OCT"]},
        device="device 9",
        labels=("ERM",),
        scores={"ERM": 0.75},
        location=b"elsewhere",
        stamp="newer",
    )
    assert index.add_records([again], MODEL) == 0
    assert len(index) == 90
    (found,) = index.search(EXAMS[0].embeddings["OCT"], k=1)
    assert found.similarity == pytest.approx(1, abs=1e-3)  # the embedding of the same exam stays
    assert (found.labels, dict(found.scores), found.device) == (
        ("ERM",),
        {"ERM": 0.75},
        "device 9",
    )
    assert (found.identity.patient, found.identity.laterality) == ("p0", "OS")
    assert index.places()[0][3] == "newer"
    (by_image,) = index.search(EXAMS[1].embeddings["OCT"], to="FAF")
    assert by_image.exam == found.exam
    # Filters know it too.
    of = Identity("new", "p0", "OS")
    held = [again, *EXAMS[1:]]
    wanted = brute_force(
        held[1:], EXAMS[0].embeddings["OCT"], "OCT", 9, Filters(leave_out="eye"), of
    )
    found = found_by(index, EXAMS[0].embeddings["OCT"], "OCT", 9, Filters(leave_out="eye"), of)
    assert_same(found, wanted)


def test_another_exam_at_the_same_place_replaces_the_first(index):
    new = dataclasses.replace(records(1, seed=5)[0], location=EXAMS[7].location)
    assert index.add_records([new], MODEL) == 1
    assert contents(index) == {e.identity.content for e in [new, *EXAMS]} - {"c0-7"}
    assert index.search(EXAMS[7].embeddings["OCT"], k=1)[0].similarity < 0.99


def test_an_exam_that_moved_keeps_its_number(index, tmp_path):
    number = index.places()[7][0]
    place = Location(tmp_path / "new place", "OD, volume 2")
    index.relocate("c0-7", place)
    (found,) = index.search(EXAMS[7].embeddings["OCT"], k=1)
    assert (found.exam, found.location) == (number, place)
    index.relocate("c0-8", place)  # what lay there lies nobody knows where
    places = {content: where for _, content, where, _ in index.places()}
    assert (places["c0-7"], places["c0-8"]) == (None, place)
    assert len(index) == 90


def test_removed_exams_are_gone_with_everything(index):
    number = index.places()[7][0]
    (before,) = index.search(EXAMS[7].embeddings["OCT"], k=1)
    assert index.remove([number, number, 10**9]) == 1
    assert index.remove([]) == 0
    assert len(index) == 89
    assert index.search(EXAMS[7].embeddings["OCT"], k=1)[0].exam != number
    assert index.thumbnails([before]) == {}
    assert index.labels_of([number]) == {}


def test_what_one_changes_the_other_sees(index, address):
    with EmbeddingIndex(address, create=False) as other:
        more = records(20, seed=3)
        other.search(EXAMS[0].embeddings["OCT"])
        for first, second in ((index, other), (other, index)):
            (fresh,) = records(1, seed=id(first) % 1000 + 10)
            assert first.add_records([fresh], MODEL) == 1
            (found,) = second.search(fresh.embeddings["OCT"], k=1)
            assert found.identity.content == fresh.identity.content
            first.label(found.exam, ["ERM", "ERM", "CNV"])
            (seen,) = second.search(
                fresh.embeddings["OCT"], k=1, filters=Filters(label="CNV", leave_out=None)
            )
            assert (seen.exam, seen.labels) == (found.exam, ("CNV", "ERM"))
            assert first.remove([found.exam]) == 1
            assert second.search(fresh.embeddings["OCT"], k=1)[0].exam != found.exam
        index.add_records(more, MODEL)
        held = [*EXAMS, *more]
        for query in (EXAMS[3].embeddings["OCT"], more[3].embeddings["OCT"]):
            wanted = brute_force(held, query, "IR", 9, Filters(label="AMD"), None)
            assert_same(found_by(other, query, "IR", 9, Filters(label="AMD"), None), wanted)


def test_all_or_nothing(index):
    bad = dataclasses.replace(records(1, seed=8)[0], embeddings={"OCT": np.full(FEATURES, np.nan)})
    for wrong in (bad, dataclasses.replace(bad, embeddings={"OCT": np.ones(3)})):
        with pytest.raises(InputError, match="24 numbers"):
            index.add_records([*records(5, seed=9), wrong], MODEL)
    assert len(index) == 90


def test_an_embedding_that_cannot_be_added_does_not_decide_on_the_model(address):
    bad = dataclasses.replace(EXAMS[0], embeddings={"OCT": np.zeros(FEATURES)})
    with EmbeddingIndex(address) as index:
        with pytest.raises(InputError):
            index.add_records([bad], OTHER_MODEL)
        assert index.model is None
        assert index.search(EXAMS[0].embeddings["OCT"]) == []
        assert index.vectors("OCT")[0] == []
        assert index.add_records(EXAMS, MODEL) == 90


def test_another_models_embeddings_never_mix(index, address):
    with EmbeddingIndex(address) as second:
        for opened in (index, second):
            with pytest.raises(EmbeddingIndexError, match=r"made by Toy 1\.0 .* of Other 2\.0"):
                opened.add_records(records(1, seed=4), OTHER_MODEL)
            embedding = ExamEmbedding({"OCT": EXAMS[0].embeddings["OCT"]}, OTHER_MODEL)
            with pytest.raises(EmbeddingIndexError, match=r"made by Toy 1\.0"):
                opened.search(embedding)
    assert len(index) == 90


@pytest.mark.parametrize("query", [np.zeros(FEATURES), np.ones(5), np.full(FEATURES, np.inf)])
def test_a_query_that_is_none(index, query):
    with pytest.raises(InputError, match="24 numbers"):
        index.search(query)


def test_no_neighbours_or_an_exam_that_is_gone(index):
    with pytest.raises(InputError, match="at least one"):
        index.search(EXAMS[0].embeddings["OCT"], k=0)
    with pytest.raises(InputError, match="no longer"):
        index.label(10**9, ["AMD"])


def test_the_salts_are_the_users_alone(index, configuration, tmp_path):
    (file,) = (configuration / "salts").iterdir()
    assert file == index.salt_file
    if os.name == "posix":
        assert file.stat().st_mode & 0o777 == 0o600
    with EmbeddingIndex(tmp_path / "other.octindex") as other:
        assert other.salt_file.read_text() != file.read_text()
