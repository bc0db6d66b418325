"""The real model process; while the file named on the command line exists, it gets no more memory than it has."""

import resource
import sys
from pathlib import Path

import psutil

from octcube_core.worker import TorchEngine, main

SPARE = 2**21


class ShortOfMemory(TorchEngine):
    def load(self, name, device, precision, on_progress):
        limit_memory()
        return super().load(name, device, precision, on_progress)

    def analyze(self, exam, model, fast, on_progress):
        limit_memory()
        return super().analyze(exam, model, fast, on_progress)


def limit_memory():
    scarce = Path(sys.argv[1]).exists()
    most = psutil.Process().memory_info().vms + SPARE if scarce else resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main(ShortOfMemory())
