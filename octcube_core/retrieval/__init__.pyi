from .fill import FillReport, index_folder
from .index import EmbeddingIndex
from .records import Filters, IndexedExam, Neighbour
from .votes import LabelVote, label_votes

__all__ = [
    "EmbeddingIndex",
    "FillReport",
    "Filters",
    "IndexedExam",
    "LabelVote",
    "Neighbour",
    "index_folder",
    "label_votes",
]
