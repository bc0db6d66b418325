"""Stands for ``octcube analyze``: how it behaves is said by the folder's name; it needs no torch and no model."""

import json
import os
import signal
import sys
import time
from pathlib import Path

from octcube_core.batch.columns import Columns
from octcube_core.batch.journal import journal_of

HERE = Path(__file__).parent
sys.path.append(str(HERE))
from fakes import make_card  # noqa: E402

COLUMNS = Columns.of(make_card())


def row(path, number):
    """The results of the exam of a number; every tenth has none."""
    if number % 10 == 9:
        facts = {"error": f"{number}.npy is damaged; copy it again."}
    else:
        facts = {
            "eye": "OD" if number % 2 else "OS",
            "probability_DME": number % 7 / 7,
            "probability_AMD": number % 5 / 5,
            "probability_PVD": 0.0,
            "present": "DME" if number % 7 > 3 else "",
            "normal_probability": 0.1,
            "key_bscan": number % 3,
        }
    return COLUMNS.row({"path": str(path), "model": "fake", **facts})


def tell(message):
    print(json.dumps(message), flush=True)  # noqa: T201


def main(folder, out, resume):
    words = folder.name.split()
    count = int(words[0])
    if out.exists() and not resume:
        sys.exit("octcube: error: overwritten")
    tell({"stage": "Loading the model", "fraction": 0.0})
    print("a library's word")  # noqa: T201
    if "refused" in words:
        sys.stderr.write("a warning\noctcube: error: The folder holds no OCT exam.\n")
        sys.exit(2)
    tell({"columns": COLUMNS.about})
    journal_of(out).touch()
    for number in range(count):
        tell({"row": row(folder.resolve() / f"{number}.npy", number)})
        tell({"stage": f"{number + 1} of {count} exams", "fraction": (number + 1) / count})
        if "endless" in words and number == 2 and not resume:
            time.sleep(60)
        if "killed" in words:
            os.kill(os.getpid(), signal.SIGKILL)
    out.touch()
    failed = sum(number % 10 == 9 for number in range(count))
    known = 3 if resume else 0
    report = {"analysed": count - failed - known, "failed": failed, "known": known}
    tell({"report": {**report, "rows": count, "out": str(out), "stopped": False}})


if __name__ == "__main__":
    given = sys.argv[1:]
    main(Path(given[0]), Path(given[given.index("--out") + 1]), "--resume" in given)
