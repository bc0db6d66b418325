"""The table of released models: what it says fits the card, and says where it is from."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from octcube_core.checkpoints.card import Architecture, ModelCard
from octcube_core.checkpoints.released import (
    NAMES,
    PACKAGED,
    RELEASED,
    with_released_facts,
)


@pytest.fixture
def card() -> ModelCard:
    """Of a file that says nothing of itself."""
    architecture = Architecture(64, 1, 1, (3, 16, 16), (2, 2, 2), 128, final_residual=False)
    return ModelCard("file", "epoch 3", architecture)


@pytest.mark.parametrize("name", RELEASED)
def test_the_facts_fit_a_card_and_travel_with_it(
    name: str, card: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ModelCard, "kind", RELEASED[name].kind)
    full = with_released_facts(card, name)
    assert full.title == f"{RELEASED[name].title} {RELEASED[name].version}"
    assert "not for diagnosis" in full.intended_use
    assert full.architecture == card.architecture
    assert ModelCard.from_json(full.to_json()) == full


def test_other_models_keep_their_own_card(card: ModelCard) -> None:
    for name in (*PACKAGED, "hf://lab/weights/model.pth", "model.pth"):
        assert with_released_facts(card, name) == card


@pytest.mark.parametrize("name", RELEASED)
def test_a_file_of_another_kind_is_another_model(name: str, card: ModelCard) -> None:
    assert with_released_facts(card, name) == card


@pytest.mark.parametrize("name", RELEASED)
def test_every_claim_has_a_source(name: str) -> None:
    model = RELEASED[name]
    assert f"https://huggingface.co/{model.repository}" in model.sources
    assert all(source.startswith("https://") for source in model.sources)
    assert all(re.search(r"https?://|arXiv", figure.source) for figure in model.reported)
    assert not model.licence.startswith("unknown") or "; see https://" in model.licence


def test_names_and_files_are_distinct() -> None:
    files = [file for model in RELEASED.values() for file in (model.file, *model.other_files)]
    assert len(set(files)) == len(files)
    assert len(set(NAMES)) == len(NAMES)


def test_the_table_needs_neither_torch_nor_a_hub() -> None:
    code = (
        "import sys, octcube_core.checkpoints.released, octcube_core.checkpoints.hub\n"
        "assert not {'torch', 'huggingface_hub'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
