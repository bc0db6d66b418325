"""An exam with one bright voxel, and analyses of it that need no model and no torch."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from octcube_core.checkpoints.card import Architecture, Label, ModelCard
from octcube_core.exam import EnFaceImage, Exam, OCTVolume
from octcube_core.readers import ExamEntry
from octcube_core.results import (
    Analysis,
    DiseaseScore,
    ExamEmbedding,
    Measurement,
    ModelIdentity,
)
from octcube_core.token_grid import TokenGrid

LABELS = (
    Label("Diabetic macular edema", "DME", ("E11.311",)),
    Label("Age-related macular degeneration", "AMD", ("H35.3",)),
    Label("Posterior vitreous detachment", "PVD", ("H43.8",), threshold=0.3),
)
PROBABILITIES = (0.91, 0.08, 0.30)
INPUT_SHAPE = (12, 64, 64)
CUBE = (3, 16, 16)
BRIGHT_VOXEL = (17, 70, 120)


def make_exam(shape=(20, 96, 160), spacing_mm=(0.12, 0.004, 0.012), bright=BRIGHT_VOXEL):
    voxels = np.full(shape, 90, np.uint8)
    voxels[bright] = 255
    infrared = EnFaceImage(np.zeros((32, 32), np.uint8), "IR")
    return Exam(
        OCTVolume(voxels, spacing_mm),
        (infrared,),
        laterality="OD",
        scan_pattern="raster",
        device="Test device",
        format="test",
    )


def make_entry(name, produce=make_exam, **facts):
    """An exam that nobody has read yet."""
    return ExamEntry(Path(name), "test", produce, **facts)


def make_card():
    architecture = Architecture(8, 1, 1, CUBE, (4, 4, 4), 8, True, len(LABELS))
    return ModelCard("fake", "1.0", architecture, LABELS, synthetic=True)


def make_analysis(exam, probabilities=PROBABILITIES, input_shape=INPUT_SHAPE):
    """DME is seen at the brightest voxel's token, AMD in the first token; PVD nowhere."""
    grid = TokenGrid(exam.volume.shape, input_shape, CUBE)
    saliency = np.zeros((len(LABELS), *grid.shape), np.float32)
    voxels = exam.volume.voxels
    bright = np.unravel_index(np.argmax(voxels), voxels.shape)
    saliency[(0, *grid.token_of_voxel(bright))] = 1.0
    saliency[1, 0, 0, 0] = 1.0
    scores = tuple(
        DiseaseScore(label.name, label.abbreviation, label.icd10, probability, label.threshold)
        for label, probability in zip(LABELS, probabilities, strict=True)
    )
    return Analysis(
        scores=scores,
        normal_probability=1 - max(probabilities),
        saliency=saliency,
        saliency_peak=saliency.max(axis=(1, 2, 3)),
        grid=grid,
        embedding=np.zeros(8, np.float32),
        card=make_card(),
        layer="norm1",
        method="Grad-CAM++",
        device="Fake GPU",
        precision="fp32",
    )


def make_embedding(exam, model="demo-coep", features=8):
    """The mean of the volume decides where the embedding points: the nearer the brightness, the more alike."""
    angle = exam.volume.voxels.mean() / 100
    vectors = {
        modality: np.array(
            [np.cos(angle), np.sin(angle), *[0.01 * number] * (features - 2)], np.float32
        )
        for number, modality in enumerate(exam.modalities)
    }
    return ExamEmbedding(vectors, ModelIdentity(f"fake {model}", model, features, model))


def make_similarity(exam, value):
    """What explains a similarity: the saliency of the first disease."""
    analysis = make_analysis(exam)
    return replace(
        analysis,
        scores=(),
        saliency=analysis.saliency[:1],
        saliency_peak=analysis.saliency_peak[:1],
        measurements=(Measurement("Similarity", "similarity", value),),
    )
