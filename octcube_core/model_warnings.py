"""What a reader of a model's results should know about an exam."""

from __future__ import annotations

from octcube_core.checkpoints.card import ModelCard
from octcube_core.exam import Exam


def model_warnings(exam: Exam, card: ModelCard) -> tuple[str, ...]:
    """Sentences on what makes this exam other than what the model of a card was made for."""
    warnings = []
    bscans, frames = exam.volume.shape[0], card.architecture.input_shape[0]
    if not card.architecture.planar:
        if bscans == 1:
            warnings.append(
                "The exam has a single B-scan; the model sees it alone, without the volume around it."
            )
        elif bscans < frames:
            warnings.append(
                f"The exam has {bscans} B-scans, fewer than the {frames} frames the model sees; "
                "the frames between them are interpolated."
            )
        if exam.scan_pattern not in (None, "raster", "line"):
            warnings.append(
                f"The B-scans form a {exam.scan_pattern} pattern, but the model was made for raster scans."
            )
    elif card.name.startswith("RETFound"):
        warnings.append(
            "RETFound's encoder was given the fundus photograph; its weights trained on OCT have seen B-scans only."
        )
    known = card.alignment.modalities if card.alignment is not None else ()
    missing = [name for name in known if name not in exam.modalities]
    if missing:
        warnings.append(f"The exam has no {' and no '.join(missing)} image, which the model knows.")
    if card.synthetic and exam.format != "synthetic":
        warnings.append(
            f"The model {card.name} has learnt from synthetic eyes only; "
            "its scores on a real eye mean nothing."
        )
    return tuple(warnings)
