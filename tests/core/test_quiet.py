"""Muting libraries in one thread neither unmutes another nor outlasts both."""

from __future__ import annotations

import threading
import warnings

import pytest

from octcube_core.readers.quiet import quiet_warnings


def test_overlapping_readers_stay_mute_and_leave_no_trace():
    first_in, second_in, first_out = (threading.Event() for _ in range(3))
    heard: list[str] = []

    def first() -> None:
        with quiet_warnings():
            first_in.set()
            second_in.wait(10)
        first_out.set()

    def second() -> None:
        first_in.wait(10)
        with quiet_warnings():
            second_in.set()
            first_out.wait(10)
            warnings.warn("a value of the file", stacklevel=1)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_: heard.append(str(message))
        before = list(warnings.filters)
        threads = [threading.Thread(target=target) for target in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert heard == []
        assert list(warnings.filters) == before


def test_warnings_are_heard_again_after_an_error():
    with pytest.raises(ValueError, match="damaged"), quiet_warnings():
        raise ValueError("damaged")
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", stacklevel=1)
