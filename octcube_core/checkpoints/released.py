"""The models that have a name: where their files are and what their authors say of them. No torch, no network.

What is written here was read in the sources that stand beside it; what none of them states is said to be unknown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from octcube_core.checkpoints.card import Label, ModelCard, ReportedFigure

# Small models of synthetic eyes, which ``make family`` trains.
PACKAGED = {
    name: Path(__file__).with_name(f"{name}.safetensors")
    for name in ("demo", "demo-ga", "demo-coep", "demo-mae", "demo-mae-enface")
}

# ICD-10-CM. Type 1 and type 2 diabetes have codes of their own.
RELEASED_LABELS = (
    Label("Diabetic macular edema", "DME", ("E10.311", "E11.311")),
    Label("Age-related macular degeneration", "AMD", ("H35.30", "H35.31", "H35.32")),
    Label("Primary open-angle glaucoma", "POAG", ("H40.11",)),
    Label("Epiretinal membrane or macular hole", "ERM/MH", ("H35.37", "H35.34")),
    Label("Diabetic retinopathy without macular edema", "DR", ("E10.319", "E11.319")),
    Label("Posterior vitreous detachment", "PVD", ("H43.81",)),
    Label("Central retinal artery or vein occlusion", "CRAO/CRVO", ("H34.1", "H34.81")),
    Label("Retinal neovascularization", "RNV", ("H35.05",)),
)

NOT_FOR_DIAGNOSIS = "Research use only; not for diagnosis."
_FOR_TRAINING = f"Embeddings, and a start for training; scores no disease. {NOT_FOR_DIAGNOSIS}"

_PAPER = "https://arxiv.org/abs/2408.11227"
_OCTCUBE = "zucksliu/OCTCubeM"
_OCTCUBE_CODE = "https://github.com/ZucksLiu/OCTCubeM"
_OCTCUBE_LICENCE = (
    f"unknown; see https://huggingface.co/{_OCTCUBE}"
    f" (the authors' code is under BSD-2-Clause: {_OCTCUBE_CODE})"
)
_RETFOUND_PAPER = "https://www.nature.com/articles/s41586-023-06555-x"
_RETFOUND_CODE = "https://github.com/rmaphoh/RETFound"
_SUMMARY = (
    "arXiv:2408.11227v1 as summarised by https://www.emergentmind.com/papers/2408.11227,"
    " not read in the paper itself"
)


def _retfound_licence(repository: str) -> str:
    return (
        f"unknown; see https://huggingface.co/{repository} (the authors' code, huggingface.co/open-eye/RETFound_MAE,"
        " and their sister model YukunZhou/RETFound_mae_meh are under CC BY-NC 4.0)"
    )


@dataclass(frozen=True)
class ReleasedModel:
    """A file on Hugging Face with the facts about it.

    ``size`` is a text, empty where no source states it. ``other_files`` are names that the same weights have had.
    ``kind`` is that of ``ModelCard``; ``gated`` says that the authors grant access on request.
    """

    title: str
    version: str
    does: str
    kind: str
    repository: str
    file: str
    input: str
    trained_on: str
    intended_use: str
    licence: str
    sources: tuple[str, ...]
    labels: tuple[Label, ...] = ()
    gated: bool = False
    size: str = ""
    other_files: tuple[str, ...] = ()
    reported: tuple[ReportedFigure, ...] = ()


def _retfound(modality: str, file: str, older_file: str, trained_on: str) -> ReleasedModel:
    repository = f"YukunZhou/{file.removesuffix('.pth')}"
    return ReleasedModel(
        title=f"RETFound ({modality})",
        version="Nature 2023",
        does=f"2D encoder, trained on {modality}",
        kind="enface",
        repository=repository,
        file=file,
        other_files=(older_file,),
        gated=True,
        size="about 3.95 GB",
        input="an image of 224 x 224, three channels",
        trained_on=trained_on,
        intended_use=_FOR_TRAINING,
        licence=_retfound_licence(repository),
        sources=(f"https://huggingface.co/{repository}", _RETFOUND_CODE, _RETFOUND_PAPER),
    )


RELEASED = {
    "octcube": ReleasedModel(
        title="OCTCube",
        version="arXiv 2408.11227",
        does="masked autoencoder of OCT volumes",
        kind="mae",
        repository=_OCTCUBE,
        file="OCTCube.pth",
        input="OCT, 60 x 256 x 256 (frames x depth x width)",
        trained_on="26,685 OCT volumes (1.62 million B-scans), without labels.",
        intended_use=_FOR_TRAINING,
        licence=_OCTCUBE_LICENCE,
        sources=(f"https://huggingface.co/{_OCTCUBE}", _OCTCUBE_CODE, _PAPER),
        reported=(
            ReportedFigure(
                "29 tasks of the paper, fine-tuned for each",
                "significantly better than 2D models",
                "27 of 29",
                "abstract of https://arxiv.org/abs/2408.11227v1",
            ),
            ReportedFigure(
                "eight retinal diseases, fine-tuned, inductive setting",
                "mean AUPRC",
                "0.81 (RETFound: 0.77)",
                _SUMMARY,
            ),
            ReportedFigure(
                "eight retinal diseases, fine-tuned, across data sets",
                "mean AUPRC",
                "0.77 (RETFound: 0.66)",
                _SUMMARY,
            ),
        ),
    ),
    "octcube-multitask": ReleasedModel(
        title="OCTCube multi-task",
        version="arXiv 2408.11227",
        does="classifier of eight diseases",
        kind="classifier",
        repository=_OCTCUBE,
        file="OCTCube_multitask_cls.pth",
        size="about 3.4 GB",
        input="OCT, 48 x 256 x 256 (frames x depth x width)",
        trained_on="OCTCube, fine-tuned on the authors' own labelled OCT volumes (number not found).",
        intended_use=NOT_FOR_DIAGNOSIS,
        licence=_OCTCUBE_LICENCE,
        labels=RELEASED_LABELS,
        sources=(f"https://huggingface.co/{_OCTCUBE}", _OCTCUBE_CODE, _PAPER),
    ),
    "octcube-ir": ReleasedModel(
        title="OCTCube-IR",
        version="arXiv 2408.11227",
        does="OCT and infrared images in one space (COEP)",
        kind="coep",
        repository=_OCTCUBE,
        file="mm_octcube_ir.pt",
        input="OCT, 54 or 60 x 256 x 256 (frames x depth x width), and an infrared image of 224 x 224",
        trained_on="26,685 pairs of an OCT volume and an infrared image.",
        intended_use=f"Retrieval between OCT and infrared images, and embeddings. {NOT_FOR_DIAGNOSIS}",
        licence=_OCTCUBE_LICENCE,
        sources=(f"https://huggingface.co/{_OCTCUBE}", _OCTCUBE_CODE, _PAPER),
    ),
    "retfound-oct": _retfound(
        "OCT B-scans",
        "RETFound_mae_natureOCT.pth",
        "RETFound_oct_weights.pth",
        "736,442 OCT B-scans, most of them of Moorfields Eye Hospital, without labels.",
    ),
    "retfound-cfp": _retfound(
        "colour fundus photographs",
        "RETFound_mae_natureCFP.pth",
        "RETFound_cfp_weights.pth",
        "904,170 colour fundus photographs, most of them of Moorfields Eye Hospital, without labels.",
    ),
}

NAMES = (*PACKAGED, *RELEASED)


def with_released_facts(card: ModelCard, name: str) -> ModelCard:
    """A file's card with what the authors of a released model say, which the file does not hold.

    Parameters
    ----------
    card : ModelCard
        Of the file that was found under the name.
    name : str
        Of ``RELEASED``.

    Returns
    -------
    ModelCard
        The same if no released model has this name, or the file is not of its kind and thus another model.
    """
    model = RELEASED.get(name)
    if model is None or model.kind != card.kind:
        return card
    return replace(
        card,
        name=model.title,
        version=model.version,
        trained_on=model.trained_on,
        intended_use=model.intended_use,
        licence=model.licence,
        reported=model.reported,
        notes={**card.notes, "sources": list(model.sources)},
    )
