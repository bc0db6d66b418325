"""The real model process with a fake engine: the model's name says how it behaves."""

import os
import signal
import time

from fakes import make_analysis, make_embedding, make_similarity

from octcube_core.errors import CheckpointError, InputError
from octcube_core.worker import main


class FakeEngine:
    loads = 0

    def device_label(self, device="auto"):
        if device == "mps":
            raise InputError("This computer has no device 'mps'; use cpu or auto.")
        return "CPU" if device == "cpu" else "Fake GPU"

    def load(self, name, device, precision, on_progress):
        self.loads += 1
        self.runs_as = device, precision, os.environ.get("OCTCUBE_MODELS", "")
        if name == "missing":
            raise CheckpointError("There is no model called 'missing'.")
        if name == "slow to load":
            time.sleep(60)
        return name

    def analyze(self, exam, model, fast, on_progress):
        if model == "bug":
            raise ZeroDivisionError("a bug in the model")
        if model == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        on_progress(f"Load number {self.loads}", 0.1)
        end = time.monotonic() + (60 if model == "endless" else 0.05)
        while time.monotonic() < end:
            time.sleep(0.01)
            on_progress("Looking at the eye", 0.5)
        on_progress(" ".join(("Ran as", *self.runs_as)).rstrip(), 0.9)
        exam.volume.voxels[0, 0, 0] = 1  # as torch does, the engine expects arrays it may write to
        assert exam.patient.name is None
        return make_analysis(exam)

    def embed(self, exam, model, name):
        if model == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if model == "tells":
            raise CheckpointError(" ".join(self.runs_as).rstrip())
        assert exam.patient.name is None
        return make_embedding(exam, name)

    def explain(self, query, by, neighbour, to, model):
        return make_similarity(query, 0.5), make_similarity(neighbour, 0.5)


if __name__ == "__main__":
    main(FakeEngine())
