from . import phantom
from .analysis import analyze
from .batch.report import TableReport
from .batch.run import analyze_table
from .checkpoints import load_model
from .embedding import embed
from .errors import (
    AnalysisCancelled,
    CheckpointError,
    EmbeddingIndexError,
    ExamReadError,
    InputError,
    NotEnoughMemory,
    OCTCubeError,
)
from .exam import BScanLocations, EnFaceImage, Exam, OCTVolume
from .readers import ExamEntry, find_exams, read_exam, read_exams
from .results import Analysis, DiseaseScore
from .retrieval import EmbeddingIndex, Filters, index_folder

__version__: str

__all__ = [
    "Analysis",
    "AnalysisCancelled",
    "BScanLocations",
    "CheckpointError",
    "DiseaseScore",
    "EmbeddingIndex",
    "EmbeddingIndexError",
    "EnFaceImage",
    "Exam",
    "ExamEntry",
    "ExamReadError",
    "Filters",
    "InputError",
    "NotEnoughMemory",
    "OCTCubeError",
    "OCTVolume",
    "TableReport",
    "analyze",
    "analyze_table",
    "embed",
    "find_exams",
    "index_folder",
    "load_model",
    "phantom",
    "read_exam",
    "read_exams",
]
