"""How long a run may still take, from how far it says it is. No Qt."""

from __future__ import annotations

MIN_SECONDS = 1.0  # of a run that tell enough of its pace
MIN_PART = 0.05
MIN_REPORTS = 4
MAX_DISAGREEMENT = 0.35  # between the pace of the whole run and of its later half


class TimeLeft:
    """Reports of how far a run is; an estimate once its pace is steady."""

    def __init__(self) -> None:
        self._reports: list[tuple[float, float]] = []  # (time, fraction)

    def report(self, fraction: float, now: float) -> None:
        """The run is so far at a time in seconds."""
        if self._reports and fraction < self._reports[-1][1]:
            self._reports = []  # a download is over, or everything begins again
        if fraction > 0 and (not self._reports or fraction > self._reports[-1][1]):
            self._reports.append((now, fraction))

    def clear(self) -> None:
        """Another run begins."""
        self._reports = []

    def seconds(self, now: float) -> float | None:
        """Seconds left; None while nobody can say."""
        reports = self._reports
        if len(reports) < MIN_REPORTS:
            return None
        (start, first), (last, fraction) = reports[0], reports[-1]
        middle, at_middle = reports[len(reports) // 2]
        if last - start < MIN_SECONDS or fraction - first < MIN_PART or last == middle:
            return None
        pace = (fraction - first) / (last - start)
        later = (fraction - at_middle) / (last - middle)
        if abs(later - pace) > MAX_DISAGREEMENT * max(later, pace):
            return None
        left = (1.0 - fraction) / later - (now - last)
        return left if left > 0 else None


def in_words(seconds: float | None) -> str:
    """'about 20 s left', in steps that do not flicker; empty if unknown."""
    if seconds is None:
        return ""
    if seconds < 60:
        step = 1 if seconds < 10 else 5
        return f"about {max(1, step * round(seconds / step))} s left"
    return f"about {round(seconds / 60)} min left"
