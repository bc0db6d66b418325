"""A process that opens damaged exams until it is told to stop or dies of one: a JSON line in, JSON lines out."""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import tempfile
import warnings
from dataclasses import asdict
from pathlib import Path

from tests.fuzz import case as cases
from tests.fuzz.judge import judge
from tests.fuzz.sample import Sample

ADDRESS_SPACE_BYTES = 6 << 30  # protects the machine; what counts as too much memory is measured


def main(corpus: str, reader: str) -> None:
    """Serve cases from stdin.

    Parameters
    ----------
    corpus : file with a sample in JSON on each line
    reader : 'module:function' under test
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    output = tempfile.TemporaryFile()  # noqa: SIM115
    for stream in (1, 2):
        os.dup2(output.fileno(), stream)

    def printed() -> str:
        sys.stdout.flush()
        sys.stderr.flush()
        size = os.fstat(output.fileno()).st_size
        output.seek(0)
        text = output.read(size).decode(errors="replace")
        os.ftruncate(output.fileno(), 0)
        os.lseek(output.fileno(), 0, os.SEEK_SET)
        return text

    samples = [Sample.from_json(line) for line in Path(corpus).read_text().splitlines()]
    module, _, function = reader.partition(":")
    read = getattr(importlib.import_module(module), function)
    if module == "tests.fuzz.judge":
        for sample in {sample.format: sample for sample in samples}.values():
            read(sample.root / sample.opened, sample.options)  # imports are no part of a case
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES))
    warnings.filterwarnings("always", append=True)  # not only the first of a kind
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print(json.dumps({"ready": True}), file=answers)
    for line in sys.stdin:
        asked = json.loads(line)
        with tempfile.TemporaryDirectory(prefix="case-") as folder:
            case = cases.make(samples, asked["format"], asked["seed"], Path(folder))
            print(json.dumps({"started": case.done}), file=answers)
            print(json.dumps(asdict(judge(case, read, printed))), file=answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
