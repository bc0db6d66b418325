"""What huggingface_hub draws of a download, told to a callback instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

OnProgress = Callable[[str, float], None]


def progress_bar(file: str, on_progress: OnProgress) -> Any:
    """A class that huggingface_hub takes for tqdm's and that reports to a callback instead of drawing."""

    class Bar:
        failure: BaseException | None = None

        def __init__(self, *, total: int | None = None, initial: int = 0, **_: object) -> None:
            self.total, self.n = total, initial
            self.update(0)

        def update(self, count: float = 1) -> None:
            self.n += int(count)
            total = self.total or 0
            try:
                of = f" of {gigabytes(total)}" if total else ""
                on_progress(
                    f"Downloading {file}, {gigabytes(self.n)}{of}",
                    min(self.n / total, 1.0) if total else 0.0,
                )
            except BaseException as error:
                Bar.failure = error
                raise

        def update_transfer(self, count: float) -> None:
            """Bytes on the wire, which ``update`` counts once more when they are on the disk."""

        def set_postfix_str(self, *_: object, **__: object) -> None: ...

        set_transfer_postfix_str = set_postfix_str

        def close(self) -> None: ...

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None: ...

    return Bar


def gigabytes(count: float) -> str:
    """A size as people read it."""
    return f"{count / 1e9:.1f} GB"
