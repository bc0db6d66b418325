"""Fonts of the PDF: DejaVu Sans inside the file, and for Chinese, Japanese and Korean those that every reader has.

DejaVu (from matplotlib's wheel, which grad-cam needs) has Latin, Greek, Cyrillic, Hebrew and Arabic letters.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from threading import Lock

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFont

from octcube_core.errors import InputError

REGULAR, BOLD = "OctcubeSans", "OctcubeSans-Bold"
_FILES = {REGULAR: "DejaVuSans.ttf", BOLD: "DejaVuSans-Bold.ttf"}
_CHINESE, _JAPANESE, _KOREAN = "STSong-Light", "HeiseiKakuGo-W5", "HYGothic-Medium"
_NO_LETTER = "□"
_LOCK = Lock()  # the viewer and a batch may ask at once

Runs = list[tuple[str, str]]  # (font, text)


def load_fonts() -> None:
    """Make the fonts known to reportlab, once.

    Raises
    ------
    InputError
        If the font files are missing.
    """
    with _LOCK:
        _register()


@cache
def _register() -> None:
    found = find_spec("matplotlib")  # not imported: that takes long
    places = found.submodule_search_locations if found else None
    for name, file in _FILES.items():
        path = Path(next(iter(places or ["."]))) / "mpl-data" / "fonts" / "ttf" / file
        if not path.is_file():
            raise InputError(
                "The fonts of the PDF are missing; please install matplotlib again, or save the report as HTML."
            )
        pdfmetrics.registerFont(TTFont(name, path))
    for name in (_CHINESE, _JAPANESE, _KOREAN):
        pdfmetrics.registerFont(UnicodeCIDFont(name))


def runs(text: str, bold: bool = False) -> Runs:
    """Text cut into pieces of one font each, in the order in which they are drawn from left to right."""
    main = BOLD if bold else REGULAR
    text = _left_to_right("".join(c if c.isprintable() else " " for c in text))
    # Han letters are shared; what else is written tells the language.
    han = _JAPANESE if any("\u3040" <= c <= "\u30ff" for c in text) else _CHINESE
    pieces = ((_font(c, main, han), c) for c in text)
    return [
        (font or main, "".join(c if font else _NO_LETTER for _, c in group))
        for font, group in groupby(pieces, key=lambda piece: piece[0])
    ]


def width(text: str, size: float, bold: bool = False) -> float:
    """Width of a text in points."""
    return float(sum(pdfmetrics.stringWidth(piece, font, size) for font, piece in runs(text, bold)))


def _font(letter: str, main: str, han: str) -> str | None:
    if ord(letter) in pdfmetrics.getFont(main).face.charToGlyph:
        return main
    if "\uac00" <= letter <= "\ud7af":
        return _KOREAN
    if unicodedata.east_asian_width(letter) in "WF" and ord(letter) < 0x10000:
        return han
    return None


def _left_to_right(text: str) -> str:
    """Hebrew and Arabic words and their order turned round, as PDF draws everything from left to right."""
    kinds = [unicodedata.bidirectional(c) for c in text]
    backwards = [kind in ("R", "AL", "NSM") for kind in kinds]
    for index in range(1, len(text) - 1):  # a space or comma between two such words belongs to them
        if kinds[index] in ("WS", "CS", "ES", "ON") and backwards[index - 1]:
            following = (
                i for i in range(index + 1, len(text)) if kinds[i] not in ("WS", "CS", "ON")
            )
            backwards[index] = backwards[next(following, index)]
    parts = groupby(zip(backwards, text, strict=True), key=lambda pair: pair[0])
    return "".join(
        "".join(reversed(letters)) if turned else "".join(letters)
        for turned, group in parts
        for letters in ([c for _, c in group],)
    )
