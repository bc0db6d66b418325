from . import phantom
from .analysis import analyze
from .checkpoints import load_model
from .errors import (
    AnalysisCancelled,
    CheckpointError,
    ExamReadError,
    InputError,
    NotEnoughMemory,
    OCTCubeError,
)
from .exam import BScanLocations, EnFaceImage, Exam, OCTVolume
from .readers import ExamEntry, find_exams, read_exam, read_exams
from .results import Analysis, DiseaseScore

__version__: str

__all__ = [
    "Analysis",
    "AnalysisCancelled",
    "BScanLocations",
    "CheckpointError",
    "DiseaseScore",
    "EnFaceImage",
    "Exam",
    "ExamEntry",
    "ExamReadError",
    "InputError",
    "NotEnoughMemory",
    "OCTCubeError",
    "OCTVolume",
    "analyze",
    "find_exams",
    "load_model",
    "phantom",
    "read_exam",
    "read_exams",
]
