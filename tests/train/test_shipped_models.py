"""The figures recorded with the models that ship: of these very files, and as good as they should be."""

from __future__ import annotations

from octcube_core.checkpoints.released import PACKAGED
from train.evaluation.center_slice import GOAL
from train.family.prove import GOALS, MOST_MEGABYTES, MOST_MINUTES
from train.family.ship import fingerprints, shipped


def test_what_ships_is_what_was_measured():
    assert shipped()["sha256"] == fingerprints()
    megabytes = sum(path.stat().st_size for path in PACKAGED.values()) / 1e6
    assert megabytes <= MOST_MEGABYTES


def test_the_recorded_proof_holds_in_every_point():
    claims = {claim["name"]: claim for claim in shipped()["claims"]}
    for name, goal in GOALS.items():
        assert claims[name]["value"] >= goal, name
    assert claims["minutes in all"]["value"] <= MOST_MINUTES
    assert claims["AUROC gained by pre-training, 20 % of labels"]["value"] > 0
    assert claims["p of its paired t-test, five seeds"]["value"] < 0.05
    assert claims["R² that OCT and IR add to FAF"]["value"] > 0
    assert all(claim["holds"] for claim in claims.values())


def test_the_middle_bscan_alone_is_clearly_worse_on_at_least_four_diseases():
    diseases = shipped()["center_slice"]["diseases"]
    assert len(diseases) == 8
    clearly = [name for name, found in diseases.items() if 0 < found["low"] <= found["difference"]]
    assert len(clearly) >= GOAL
    for name in clearly:
        assert diseases[name]["center"] < diseases[name]["volume"]
