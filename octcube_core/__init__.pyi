from . import phantom
from .analysis import analyze
from .checkpoints import load_model
from .errors import AnalysisCancelled, CheckpointError, ExamReadError, InputError, OCTCubeError
from .exam import BScanLocations, EnFaceImage, Exam, OCTVolume
from .readers import read_exam
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
    "ExamReadError",
    "InputError",
    "OCTCubeError",
    "OCTVolume",
    "analyze",
    "load_model",
    "phantom",
    "read_exam",
]
