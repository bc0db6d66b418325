"""Errors that a user can cause; each message is one sentence that says what is wrong and what to do."""


class OCTCubeError(Exception):
    """Base of all errors shown to a user without a traceback."""

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))


def printable(text: str) -> str:
    """Text without control characters, which names in files may hold and a terminal would obey."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)


class ExamReadError(OCTCubeError):
    """A file or folder cannot be read as an OCT exam."""


class CheckpointError(OCTCubeError):
    """A model file cannot be found, is damaged, or has an unknown layout."""


class InputError(OCTCubeError):
    """An argument or an exam does not fit what was asked of it."""


class AnalysisCancelled(OCTCubeError):
    """The caller asked a running analysis to stop."""


class NotEnoughMemory(OCTCubeError):
    """Memory ran out in the smallest plan of running a model too."""


class EmbeddingIndexError(OCTCubeError):
    """An index of embeddings is damaged, locked, of another version or model, or cannot be reached or written."""
