"""Files that somebody may take for a model and that are none, by what is wrong with them. Imports no torch."""

import json
import pickle
import struct
from pathlib import Path

from octcube_core.checkpoints.card import CARD_KEY
from octcube_core.checkpoints.released import PACKAGED

DAMAGE = (
    "empty",
    "cut off in its header",
    "cut off in its weights",
    "a weight missing",
    "a card of a newer version",
    "no card",
    "text",
    "a picture",
    "a pickle",
    "a pickle that runs a program",
)


class _Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def whole():
    """The bytes of a good model."""
    return PACKAGED["demo"].read_bytes()


def write(path, damage):
    """Write such a file; return the path that appears if it ran a program."""
    harm = path.with_name("harm")
    path.write_bytes(_bytes(damage, harm))
    return harm


def _bytes(damage, harm):
    good = whole()
    match damage:
        case "empty":
            return b""
        case "cut off in its header":
            return good[:100]
        case "cut off in its weights":
            return good[: len(good) // 2]
        case "a weight missing":
            return _with_header(
                good, lambda header: header.pop(min(header.keys() - {"__metadata__"}))
            )
        case "a card of a newer version":
            return _with_header(good, _make_newer)
        case "no card":
            return _with_header(good, lambda header: header["__metadata__"].pop(CARD_KEY))
        case "text":
            return b"This is where the model should be.\n"
        case "a picture":
            return b"\x89PNG\r\n\x1a\n" + bytes(1000)
        case "a pickle":
            return pickle.dumps({"model": [1.0, 2.0]})
        case "a pickle that runs a program":
            return pickle.dumps(_Harmful(harm))
    raise ValueError(damage)


def _make_newer(header):
    card = json.loads(header["__metadata__"][CARD_KEY])
    card["format"] += 1
    header["__metadata__"][CARD_KEY] = json.dumps(card)


def _with_header(data, change):
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + size :]
