"""How far each saliency method at each layer can be trusted: pointing, mass, deletion, insertion, sanity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from octcube_core.models.octcube import OCTCubeClassifier
from octcube_core.phantom import SyntheticExam
from train.evaluation.explaining import ExplainedEye, Explainer, explain_exam, explain_tokens
from train.evaluation.perturbation import RANDOM_ORDERS, Perturbation, predictor
from train.evaluation.pointing import FOCAL, mass_inside, points_at, tokens_in_lesion
from train.evaluation.sanity import STAGES, randomised, rank_correlation

# What a map is worth, one figure per eye and disease, and what each figure would be by chance.
FIGURES = ("pointing", "mass", "deletion", "insertion")
CHANCE = {"pointing": "chance", "mass": "chance", "deletion": "random", "insertion": "random"}


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes
    ----------
    explainers : sequence of Explainer
        The first is the one whose figures stand beside the diseases' scores.
    perturbation_eyes : int
        At most so many eyes, the first that have a disease which the model scores as present.
    perturbation_steps : int
    sanity_eyes : int
        At most so many eyes, the first that have a disease.
    seed : int
    """

    explainers: Sequence[Explainer]
    perturbation_eyes: int
    perturbation_steps: int
    sanity_eyes: int
    seed: int


class SaliencyBenchmark:
    """Collects the figures eye by eye.

    Maps are judged for the diseases that an eye has; perturbed are those that the model also scores as present, as
    a score that is not there cannot fall.
    """

    def __init__(self, model: OCTCubeClassifier, plan: Plan) -> None:
        self._model, self._plan = model, plan
        self._names = [label.abbreviation for label in model.card.labels]
        self._rows: list[dict[str, Any]] = []
        self._correlations: list[dict[str, Any]] = []
        self._perturbed = self._checked = 0

    def add(self, number: int, exam: SyntheticExam) -> NDArray[np.float32]:
        """Judge the maps of eye ``number``; returns its probabilities, shape (disease,)."""
        masks = {name: mask for name, mask in exam.truth.masks.items() if mask.any()}
        present = [index for index, name in enumerate(self._names) if name in masks]
        eye = explain_exam(exam, self._model, present, self._plan.explainers)
        if not present:
            return eye.probabilities
        rows = [
            self._placed(eye, slot, name, masks[name])
            for slot, name in enumerate(self._names[index] for index in present)
        ]
        self._perturb(number, eye, present, rows)
        self._rows += [row for disease in rows for row in disease]
        self._check(number, eye, present)
        return eye.probabilities

    def _placed(
        self, eye: ExplainedEye, slot: int, name: str, mask: NDArray[np.bool_]
    ) -> list[dict[str, Any]]:
        """Whether each map of a disease lies on its lesion."""
        lesion = tokens_in_lesion(mask, eye.grid)
        return [
            {
                **explainer._asdict(),
                "disease": name,
                "pointing": points_at(maps[slot], lesion),
                "mass": mass_inside(maps[slot], lesion),
                "chance": lesion.mean(),
            }
            for explainer, maps in eye.maps.items()
        ]

    def _perturb(
        self, number: int, eye: ExplainedEye, present: list[int], rows: list[list[dict[str, Any]]]
    ) -> None:
        """Add the areas under the curves to the rows of the diseases that are scored as present."""
        thresholds = [label.threshold for label in self._model.card.labels]
        scored = [
            slot
            for slot, index in enumerate(present)
            if eye.probabilities[index] >= thresholds[index]
        ]
        if not scored or self._perturbed >= self._plan.perturbation_eyes:
            return
        self._perturbed += 1
        perturbation = Perturbation(
            predictor(self._model),
            eye.volume,
            eye.grid.cube,
            self._plan.perturbation_steps,
            np.random.default_rng((self._plan.seed, number)),
        )
        random = perturbation.random_area()
        for slot in scored:
            maps = np.stack([maps[slot] for maps in eye.maps.values()])
            deletion, insertion = perturbation.areas(maps, present[slot])
            for row, low, high in zip(rows[slot], deletion, insertion, strict=True):
                row.update(deletion=low, insertion=high, random=random[present[slot]])

    def _check(self, number: int, eye: ExplainedEye, present: list[int]) -> None:
        """Compare the maps with those of the model made random, by other random weights for every eye."""
        if self._checked >= self._plan.sanity_eyes:
            return
        self._checked += 1
        seed = int(np.random.SeedSequence((self._plan.seed, number)).generate_state(1)[0])
        for stage, model in randomised(self._model, seed):
            tokens = eye.tokens if stage != STAGES[-1] else model.encoder.trunk(eye.volume)
            _, maps = explain_tokens(
                model, tokens.detach(), eye.grid.shape, present, self._plan.explainers
            )
            self._correlations += [
                {
                    **explainer._asdict(),
                    "stage": stage,
                    "correlation": rank_correlation(original, random),
                }
                for explainer in maps
                for original, random in zip(eye.maps[explainer], maps[explainer], strict=True)
            ]

    def result(self) -> dict[str, Any]:
        """Figures of every explainer: pooled over the focal diseases, over all, and for each disease.

        ``explainers`` holds for each its method, layer, ``focal``, ``all``, ``diseases`` and ``sanity``; a figure
        that these eyes cannot give is None.
        """
        columns = ["method", "layer", "disease", *FIGURES, "chance", "random"]
        rows = pd.DataFrame(self._rows, columns=columns)
        correlations = pd.DataFrame(
            self._correlations, columns=["method", "layer", "stage", "correlation"]
        )
        return {
            "perturbation": {
                "eyes": self._perturbed,
                "steps": self._plan.perturbation_steps,
                "random_orders": RANDOM_ORDERS,
            },
            "sanity_eyes": self._checked,
            "explainers": [
                {
                    **explainer._asdict(),
                    **self._judged(_of(rows, explainer)),
                    "sanity": _by_stage(_of(correlations, explainer)),
                }
                for explainer in self._plan.explainers
            ],
        }

    def _judged(self, rows: pd.DataFrame) -> dict[str, Any]:
        return {
            "focal": _figures(rows[rows["disease"].isin(FOCAL)]),
            "all": _figures(rows),
            "diseases": {name: _figures(rows[rows["disease"] == name]) for name in self._names},
        }


def _of(rows: pd.DataFrame, explainer: Explainer) -> pd.DataFrame:
    return rows[(rows["method"] == explainer.method) & (rows["layer"] == explainer.layer)]


def _figures(rows: pd.DataFrame) -> dict[str, float | int | None]:
    """Means, and by how much each is better than chance (deletion: lower is better)."""
    found: dict[str, float | int | None] = {
        "maps": len(rows),
        "perturbed": int(rows["deletion"].notna().sum()),
    }
    for name in (*FIGURES, "chance", "random"):
        found[name] = _mean(rows[name])
    for name, chance in CHANCE.items():
        gain = (rows[name] - rows[chance]).dropna().astype(float)
        found[f"{name}_gain"] = _mean(-gain if name == "deletion" else gain)
    return found


def _by_stage(rows: pd.DataFrame) -> dict[str, float | None]:
    return {
        stage: _mean(rows.loc[rows["stage"] == stage, "correlation"].astype(float))
        for stage in STAGES
    }


def _mean(values: pd.Series) -> float | None:
    known = values.dropna().astype(float)
    return float(known.mean()) if len(known) else None
