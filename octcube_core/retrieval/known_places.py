"""Which exams an index holds and where they lie, kept up to date while a run finds them elsewhere."""

from __future__ import annotations

from octcube_core.retrieval.index import EmbeddingIndex
from octcube_core.retrieval.records import Location


class KnownPlaces:
    """The contents of an index with their places. What is noted here of a moved exam is noted in the index too."""

    def __init__(self, index: EmbeddingIndex) -> None:
        self._index = index
        self._secret = index.needed_secret()
        self._places: dict[
            str, tuple[Location | None, str | None]
        ] = {}  # by content; and the stamp
        self._contents: dict[Location, str] = {}
        self._replaced: set[str] = set()  # contents whose place another exam has taken
        for _, content, where, stamp in index.places():
            self._note(content, where, stamp)

    def __contains__(self, content: str) -> bool:
        return content in self._places

    def expect(self, content: str, place: Location) -> None:
        """An exam is going to be added, and to take the place of what lay there."""
        self._places.pop(self._contents.get(place, ""), None)
        self._note(content, place, self._secret.stamp(place))

    def again(self, content: str, place: Location) -> None:
        """An exam that is there was found: it lies here now, unless this is a copy and the first one is unchanged."""
        before, stamp = self._places[content]
        if before is None or before == place or self._secret.stamp(before) != stamp:
            self._index.relocate(content, place)
            self._displace(place, content)
            self._note(content, place, self._secret.stamp(place))
        else:
            self._displace(place, content)

    def remove_replaced(self) -> int:
        """Remove what lost its place to another exam and was not found elsewhere; return how many there were."""
        if not self._replaced:
            return 0
        gone = [
            number
            for number, content, _, _ in self._index.places()
            if content in self._replaced and self._places.get(content) == (None, None)
        ]
        return self._index.remove(gone)

    def _note(self, content: str, where: Location | None, stamp: str | None) -> None:
        before, _ = self._places.get(content, (None, None))
        if before is not None and self._contents.get(before) == content:
            del self._contents[before]
        self._places[content] = where, stamp
        if where is not None:
            self._contents[where] = content

    def _displace(self, place: Location, content: str) -> None:
        """What lay at a place lies there no longer; perhaps it is found elsewhere before the run ends."""
        other = self._contents.pop(place, content)
        if other != content and other in self._places:
            self._replaced.add(other)
            self._places[other] = None, None
