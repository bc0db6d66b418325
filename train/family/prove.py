"""``python -m train prove``: the family's figures on unseen eyes beside what they should be."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy import stats

from octcube_core.errors import InputError
from octcube_core.whole_file import whole_file
from train.evaluation.center_slice import GOAL, compare
from train.evaluation.figures import ALL, MEAN
from train.evaluation.results import PREDICTIONS
from train.family.plan import SEEDS
from train.family.run import minutes
from train.family.ship import PRODUCTS

GOALS = {
    "mean AUROC": 0.95,
    "lowest AUROC of a disease": 0.90,
    "OCT to IR, recall@1": 0.90,
    "IR to OCT, recall@1": 0.90,
    "laterality accuracy@1": 0.97,
    "GA growth, R² of OCT, FAF and IR": 0.53,
}
MOST_MINUTES, MOST_MEGABYTES = 100.0, 30.0


@dataclass(frozen=True)
class Claim:
    """A figure and whether it is as good as it should be.

    Attributes
    ----------
    low, high : interval over patients, where there is one
    """

    name: str
    value: float
    goal: str
    holds: bool
    low: float | None = None
    high: float | None = None


def main(argv: list[str]) -> None:
    """Parse the arguments, write ``proof.json``, print a table."""
    parser = argparse.ArgumentParser(prog="python -m train prove", description=__doc__)
    parser.add_argument("--family", type=Path, default=Path("runs/family"))
    family = parser.parse_args(argv).family
    claims = prove(family)
    with whole_file(family / "proof.json") as partial:
        partial.write_text(json.dumps([asdict(claim) for claim in claims], indent=1))
    _print(claims)


def prove(family: Path) -> list[Claim]:
    """All claims about the models in a family's folder; InputError if one was not evaluated."""
    return [
        *_diseases(family),
        *_pretraining(family),
        *_retrieval(family),
        *_growth(family),
        _at_most("minutes in all", sum(minutes(family).values()), MOST_MINUTES),
        _at_most("megabytes of all products", _megabytes(family), MOST_MEGABYTES),
    ]


def _diseases(family: Path) -> list[Claim]:
    found = _figures(family, "demo").query("metric == 'auroc'").set_index("target")["value"]
    volume, center = (
        pd.read_parquet(family / "tests" / name / PREDICTIONS) for name in ("demo", "center")
    )
    worse = int(compare(volume, center)["clearly_worse"])
    return [
        _at_least("mean AUROC", found[MEAN]),
        _at_least("lowest AUROC of a disease", found.drop([MEAN, ALL], errors="ignore").min()),
        Claim(
            "diseases that a center slice shows clearly worse", worse, f">= {GOAL}", worse >= GOAL
        ),
    ]


def _pretraining(family: Path) -> list[Claim]:
    """Mean AUROC with a fifth of the labels, from the masked autoencoder and from scratch, paired by seed."""
    pretrained, scratch = (
        np.array([_mean_auroc(family, f"few-{start}-{seed}") for seed in SEEDS])
        for start in ("mae", "scratch")
    )
    test = stats.ttest_rel(pretrained, scratch, alternative="greater")
    gain = pretrained - scratch
    return [
        Claim(
            "AUROC gained by pre-training, 20 % of labels",
            float(gain.mean()),
            "> 0",
            bool(gain.mean() > 0),
        ),
        Claim(
            "p of its paired t-test, five seeds",
            float(test.pvalue),
            "< 0.05",
            bool(test.pvalue < 0.05),
        ),
    ]


def _retrieval(family: Path) -> list[Claim]:
    figures = _figures(family, "coep").set_index(["target", "metric"])
    claims = []
    for pair in ("OCT to IR", "IR to OCT"):
        row = figures.loc[(pair, "recall@1")]
        claims.append(_at_least(f"{pair}, recall@1", row["value"], row["low"], row["high"]))
    sides = [
        figures.loc[(pair, "laterality_accuracy@1"), "value"] for pair in ("OCT to IR", "IR to OCT")
    ]
    return [*claims, _at_least("laterality accuracy@1", float(min(sides)))]


def _growth(family: Path) -> list[Claim]:
    every, faf = (
        _figures(family, name).set_index(["target", "metric"]).loc[("ga_growth", "r2")]
        for name in ("ga", "ga-faf")
    )
    goal = _at_least(
        "GA growth, R² of OCT, FAF and IR", every["value"], every["low"], every["high"]
    )
    more = float(every["value"] - faf["value"])
    return [goal, Claim("R² that OCT and IR add to FAF", more, "> 0", more > 0)]


def _figures(family: Path, name: str) -> pd.DataFrame:
    path = family / "tests" / name / "metrics.parquet"
    if not path.is_file():
        raise InputError(f"{name} was not evaluated; run python -m train family --out {family}.")
    return pd.read_parquet(path)


def _mean_auroc(family: Path, name: str) -> float:
    figures = _figures(family, name).set_index(["target", "metric"])
    return float(figures.loc[(MEAN, "auroc"), "value"])


def _at_least(
    name: str, value: float, low: float | None = None, high: float | None = None
) -> Claim:
    return Claim(name, float(value), f">= {GOALS[name]}", bool(value >= GOALS[name]), low, high)


def _at_most(name: str, value: float, most: float) -> Claim:
    return Claim(name, value, f"<= {most:g}", value <= most)


def _megabytes(family: Path) -> float:
    return sum((family / f"{name}.safetensors").stat().st_size for name in PRODUCTS) / 1e6


def _print(claims: Iterable[Claim]) -> None:
    table = Table("figure", "value", "95 % interval", "goal", "holds")
    for claim in claims:
        between = "" if claim.low is None else f"{claim.low:.3f} to {claim.high:.3f}"
        table.add_row(
            claim.name, f"{claim.value:.3g}", between, claim.goal, "yes" if claim.holds else "NO"
        )
    Console().print(table)
