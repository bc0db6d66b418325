import threading

import pytest
from archives import make_archive

from napari_octcube._archive import Archive


@pytest.fixture
def archive(owner):
    archive = Archive(owner)
    yield archive
    archive.close()


class Heard:
    def __init__(self):
        self.results, self.errors = [], []

    def __len__(self):
        return len(self.results) + len(self.errors)


@pytest.fixture
def heard():
    return Heard()


def test_opens_and_tells_what_is_in_it(archive, owner, heard, tmp_path):
    archive.open(make_archive(tmp_path), False, heard.results.append, heard.errors.append)
    owner.run_until(lambda: len(heard))
    (facts,) = heard.results
    assert facts.name == "eyes.octindex"
    assert facts.counts == {"exams": 4, "IR": 4, "OCT": 4}
    assert facts.labels == ("AMD", "DME")
    assert facts.modalities == ("IR", "OCT")
    assert facts.has_salt
    assert not facts.read_only


def test_a_failed_opening_leaves_the_archive_before_open(archive, owner, heard, tmp_path):
    archive.open(make_archive(tmp_path), False, heard.results.append, heard.errors.append)
    archive.open(str(tmp_path / "none.octindex"), False, heard.results.append, heard.errors.append)
    archive.run(len, heard.results.append, heard.errors.append)
    owner.run_until(lambda: len(heard) == 3)
    assert "There is no index" in heard.errors[0]
    assert heard.results[1] == 4


def test_without_an_archive_it_says_so(archive, owner, heard):
    archive.run(len, heard.results.append, heard.errors.append)
    owner.run_until(lambda: len(heard))
    assert heard.errors == ["No archive is open; open one or make a new one."]


def test_an_unexpected_error_is_one_sentence_without_its_text(archive, owner, heard, tmp_path):
    archive.open(make_archive(tmp_path), False, lambda facts: None, heard.errors.append)

    def broken(index):
        raise RuntimeError("Smith^John")

    archive.run(broken, heard.results.append, heard.errors.append)
    owner.run_until(lambda: len(heard))
    assert heard.errors == [
        "The archive could not do that because of an unexpected error (RuntimeError)."
    ]


def test_a_newer_search_replaces_those_that_wait(archive, owner, heard, tmp_path):
    begun, go = threading.Event(), threading.Event()

    def first(index):
        begun.set()
        go.wait(10)
        return "first"

    archive.open(make_archive(tmp_path), False, lambda facts: None, heard.errors.append)
    archive.run(first, heard.results.append, heard.errors.append, replaces="search")
    assert begun.wait(10)
    for name in ("second", "third"):
        archive.run(
            lambda index, name=name: name, heard.results.append, heard.errors.append, "search"
        )
    archive.run(lambda index: "other", heard.results.append, heard.errors.append)
    go.set()
    owner.run_until(lambda: "other" in heard.results)
    assert heard.results == ["first", "third", "other"]


def test_nothing_is_heard_after_the_end(owner, heard, tmp_path):
    archive = Archive(owner)
    release = threading.Event()
    archive.open(make_archive(tmp_path), False, lambda facts: None, heard.errors.append)
    archive.run(lambda index: release.wait(10), heard.results.append, heard.errors.append)
    thread = archive._thread
    archive.close()
    release.set()
    thread.join(10)
    assert not thread.is_alive()
    owner.run_pending()
    assert not heard.results
