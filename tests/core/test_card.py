"""A model card that somebody else wrote: whatever it says, one sentence or a card that makes sense."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from octcube_core.checkpoints.card import (
    Alignment,
    Architecture,
    Decoder,
    Label,
    ModelCard,
    ReportedFigure,
    Target,
)
from octcube_core.errors import CheckpointError

VOLUME = Architecture(
    64, 2, 1, (3, 16, 16), (3, 2, 2), 128, False, outputs=4, position_table=(3, 4, 4)
)
IMAGE = Architecture(64, 2, 1, (3, 16, 16), (1, 2, 2), 128, False, planar=True)
CARD = ModelCard(
    "Card",
    "1",
    VOLUME,
    (Label("Disease", "D", ("H35.1",), 0.25), Label("Other", "O")),
    decoder=Decoder(32, 1, 2, 64, False, position_table=(3, 2, 2)),
    alignment=Alignment(IMAGE, ("FAF", "IR"), 48, regression_hidden=16),
    targets=(Target("Growth", "GA", "mm"),),
    temperature=2,
    reported=(ReportedFigure("task", "AUC", "0.9", "paper"),),
    notes={"sources": ["paper"], "anything": {"else": [1, None]}},
)
NAN, HUGE = float("nan"), 10**30


def _changed(path: str, value: Any) -> str:
    data = json.loads(CARD.to_json())
    *parents, last = path.split(".")
    place = data
    for key in parents:
        place = place[int(key) if key.isdigit() else key]
    place[last] = value
    return json.dumps(data)


def test_a_card_comes_back_as_it_was() -> None:
    assert ModelCard.from_json(CARD.to_json()) == CARD


def test_fields_with_a_default_may_be_left_out() -> None:
    data = {"format": 1, "name": "a", "version": "1", "architecture": json.loads(CARD.to_json())}
    data["architecture"] = data["architecture"]["architecture"]
    assert ModelCard.from_json(json.dumps(data)) == ModelCard("a", "1", VOLUME)


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("temperature", [0, -1, NAN, float("inf"), HUGE, "hot", None, True]),
        ("labels.0.threshold", [NAN, -0.1, 1.5, "a", None]),
        ("labels.0.abbreviation", ["", "O", 7, ["D"], "\ud800"]),
        ("labels.0.icd10", ["H35", [1], None]),
        ("labels", [None, {}, [1], "ab"]),
        ("targets", [[{"name": "a"}], [{"name": "a", "abbreviation": "b", "extra": 1}]]),
        ("notes", [[1], None, "text"]),
        ("notes.sources", [5, [5], "text", None]),
        ("name", [5, None, ["a"]]),
        ("licence", [None, 3]),
        ("trained_on", [None]),
        ("reported", [[{"task": 1, "metric": None, "value": [1], "source": {}}], 5]),
        ("synthetic", ["no", 1, None]),
        ("saliency", [["gradcam"], "unknown", None]),
        ("unknown", [1]),
        ("architecture", [None, [], "text"]),
        ("architecture.num_heads", [-2, 0, 2.0, "1", HUGE, True]),
        ("architecture.depth", [0, 10**9, 3.0]),
        ("architecture.embed_dim", [0, HUGE, NAN]),
        ("architecture.outputs", [-2, None]),
        ("architecture.final_residual", ["no", 0, None]),
        ("architecture.head_dropout", [NAN, 2, -1, "0"]),
        ("architecture.grid", [[0, 2, 2], [-3, 2, 2], [2, 2], [3, 2, 2, 2], "abc", [4.5, 2, 2], 5]),
        ("architecture.grid", [[10**6, 64, 64], [1024, 1024, 1024], None]),
        ("architecture.position_table", [[3, 0, 4], [3, 4], "abc"]),
        ("architecture.cube", [["3", 16, 16], [0, 16, 16], None]),
        ("architecture.planar", [True]),
        ("decoder.num_heads", [-1, 0, 1.5]),
        ("decoder.position_table", [[0, 1, 1]]),
        ("alignment.enface.planar", [False]),
        ("alignment.enface.grid", [[2, 2, 2]]),
        ("alignment.modalities", [[], ["IR", "IR"], [f"M{n}" for n in range(10**4)], "IR", [1]]),
        ("alignment.projection", [0, -1, HUGE]),
        ("alignment.regression_hidden", [-1]),
        ("targets.0.scale", [0, -1, NAN, None]),
        ("targets.0.mean", [float("inf"), "a"]),
        ("exclusive", ["yes", 1, None]),
        ("enface_modalities", [["FAF", "FAF"], [""], "FAF"]),
        ("slice_head", [{"depth": 0}, {"num_heads": 2.5}, {"head_dim": 0}, {}, "text"]),
    ],
)
def test_what_makes_no_sense_is_one_sentence(path: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(CheckpointError) as caught:
            ModelCard.from_json(_changed(path, value))
        message = str(caught.value)
        assert message.startswith(("The model card", "Unknown saliency")), value
        assert message.endswith(".")
        assert len(message) < 300


@pytest.mark.parametrize(
    "text", ["[" * 200_000, '{"format":' * 50_000, '{"format": 1' + "0" * 9999]
)
def test_json_that_is_a_bomb_is_one_sentence(text: str) -> None:
    with pytest.raises(CheckpointError, match="damaged"):
        ModelCard.from_json(text)


def test_a_card_is_read_without_numpy_and_torch() -> None:
    code = (
        "import sys\nfrom octcube_core.checkpoints.card import ModelCard\n"
        f"ModelCard.from_json({CARD.to_json()!r})\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
