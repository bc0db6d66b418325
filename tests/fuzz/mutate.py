"""Ways in which a file comes to harm."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

Rng = np.random.Generator
Mutation = Callable[[bytes, Rng], bytes]

EXTREMES = (0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 10**9, 0x80000000, 0xFFFF, 0x7FFF)
EXTREME_TEXTS = (b"0", b"-1", b"65535", b"2147483647", b"99999999999", b"1e308", b"nan", b"0.0")
FRONT_BYTES = 1 << 16
SUFFIXES = (
    *(".dcm", ".vol", ".xml", ".e2e", ".fda", ".fds", ".img", ".tif", ".npy", ".npz", ".mat"),
    *(".mhd", ".mha", ".nii", ".nii.gz", ".png", ".jpg", ".bmp", ".json", ".txt", ".raw", ""),
)
_NUMBER = re.compile(rb"\d[\d.]*")


def truncate(data: bytes, rng: Rng) -> bytes:
    """Cut anywhere; now and then within the first or the last bytes."""
    kind = rng.random()
    if kind < 0.2:
        return data[: int(rng.integers(0, min(len(data), 300) + 1))]
    if kind < 0.4:
        return data[: max(len(data) - 1 - int(rng.integers(0, 300)), 0)]
    return data[: int(rng.integers(0, len(data) + 1))]


def flip(data: bytes, rng: Rng) -> bytes:
    """Flip bits in up to 20 bytes, mostly near the front."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 21))):
        changed[_front(len(data), rng)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def insert(data: bytes, rng: Rng) -> bytes:
    """Insert a run of random bytes."""
    at = _front(len(data), rng)
    return data[:at] + rng.bytes(int(rng.integers(1, 600))) + data[at:]


def delete(data: bytes, rng: Rng) -> bytes:
    """Leave out a run."""
    at = _front(len(data), rng)
    return data[:at] + data[at + int(rng.integers(1, 600)) :]


def extreme(data: bytes, rng: Rng) -> bytes:
    """Set up to three aligned fields near the front to numbers that no length or dimension has."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        size = int(rng.choice([2, 4, 8]))
        at = _front(min(len(data), FRONT_BYTES), rng) // 2 * 2
        value = int(rng.choice(EXTREMES)) & (256**size - 1)
        order = "little" if rng.random() < 0.7 else "big"
        changed[at : at + size] = value.to_bytes(size, order)
    return bytes(changed[: len(data)])


def extreme_text(data: bytes, rng: Rng) -> bytes:
    """Replace up to two numbers that are written out."""
    for _ in range(int(rng.integers(1, 3))):
        found = list(_NUMBER.finditer(data[:FRONT_BYTES]))
        if not found:
            return extreme(data, rng)
        number = found[int(rng.integers(len(found)))]
        text = EXTREME_TEXTS[int(rng.integers(len(EXTREME_TEXTS)))]
        data = data[: number.start()] + text + data[number.end() :]
    return data


def nudge(data: bytes, rng: Rng) -> bytes:
    """Change one number a little: a count or size that is almost right."""
    texts = list(_NUMBER.finditer(data[:FRONT_BYTES]))
    if texts and rng.random() < 0.4:
        number = texts[int(rng.integers(len(texts)))]
        digits = number[0].split(b".")[0]
        if len(digits) < 6:
            text = str(_almost(int(digits), rng)).encode()
            return data[: number.start()] + text + data[number.start() + len(digits) :]
    size = int(rng.choice([2, 4]))
    front = np.frombuffer(data[: min(len(data), FRONT_BYTES) // size * size], f"<u{size}")
    places = np.flatnonzero((front > 0) & (front < 5000))
    if not places.size:
        return flip(data, rng)
    place = int(places[_front(len(places), rng)])
    value = _almost(int(front[place]), rng).to_bytes(size, "little")
    return data[: place * size] + value + data[(place + 1) * size :]


def swap(data: bytes, rng: Rng) -> bytes:
    """Exchange two blocks."""
    size = int(rng.integers(1, 1 + min(512, len(data) // 2)))
    first, second = sorted(_front(len(data), rng) // size for _ in range(2))
    a, b = first * size, second * size
    if a == b:
        return zero(data, rng)
    return (
        data[:a] + data[b : b + size] + data[a + size : b] + data[a : a + size] + data[b + size :]
    )


def zero(data: bytes, rng: Rng) -> bytes:
    """Clear a run."""
    at, size = _front(len(data), rng), int(rng.integers(1, 2000))
    return data[:at] + bytes(len(data[at : at + size])) + data[at + size :]


def append(data: bytes, rng: Rng) -> bytes:
    """Add garbage to the end."""
    return data + rng.bytes(int(rng.integers(1, 4000)))


def rename(data: bytes, rng: Rng) -> bytes:
    """Leave the bytes alone; the file's name is changed by `renamed`."""
    return data


def join(data: bytes, rng: Rng) -> bytes:
    """Stand for two files in one; the other is put behind or before it by the caller."""
    return data


MUTATIONS: dict[str, Mutation] = {
    function.__name__: function
    for function in (
        *(truncate, flip, insert, delete, extreme, extreme_text, nudge, swap, zero, append),
        *(rename, join),
    )
}
_WEIGHTS = {"truncate": 4, "flip": 3, "extreme": 4, "extreme_text": 2, "nudge": 4}


def choose(rng: Rng) -> tuple[str, ...]:
    """Names of one mutation, or now and then of two of which none cuts, joins or renames."""
    names = list(MUTATIONS)
    weights = np.array([_WEIGHTS.get(name, 1) for name in names], float)
    first = names[int(rng.choice(len(names), p=weights / weights.sum()))]
    both = ("flip", "insert", "delete", "extreme", "extreme_text", "nudge", "swap", "zero")
    if first in both and rng.random() < 0.2:
        return first, both[int(rng.integers(len(both)))]
    return (first,)


def renamed(name: str, rng: Rng) -> str:
    """A file's name with another suffix."""
    stem = name.split(".")[0]
    others = [suffix for suffix in SUFFIXES if stem + suffix != name]
    return stem + others[int(rng.integers(len(others)))]


def _almost(value: int, rng: Rng) -> int:
    return (value + 1, max(value - 1, 0), 2 * value, value // 2)[int(rng.integers(4))]


def _front(length: int, rng: Rng) -> int:
    """A position, more often near the front, where headers are."""
    return min(int(length * rng.random() ** 3), max(length - 1, 0))
