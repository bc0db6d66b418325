"""Every recipe parses and runs a batch on a machine that has none of its data, weights or GPUs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from train.__main__ import COMMANDS, main

CONFIGS = Path(__file__).parents[2] / "train" / "configs"
RECIPES = sorted(CONFIGS.rglob("*.yaml"))


def command_of(recipe: Path) -> str:
    """The command that a recipe names in its comments, or that its own name begins with."""
    match = re.search(r"-m train (\w+) --config", recipe.read_text())
    command = match[1] if match else recipe.stem.split("_")[0]
    assert command in COMMANDS
    return command


def tiny(part: Any) -> Any:
    """The recipe with every transformer as narrow, and every grid as small, as can be; depths stay."""
    if isinstance(part, list):
        return [tiny(value) for value in part]
    if not isinstance(part, dict):
        return part
    small = {name: tiny(value) for name, value in part.items()}
    if "embed_dim" in small:
        small |= {"embed_dim": 16, "num_heads": 1, "mlp_dim": 16}
    for name in ("grid", "position_table"):
        if small.get(name):
            small[name] = [min(part[name][0], 2), 2, 2]
    if "size" in small:  # of slices
        small["size"] = [32, 32]
    return small


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_tiny_dry_run_of_every_recipe(recipe, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    small = tmp_path / recipe.name
    small.write_text(yaml.safe_dump(tiny(yaml.safe_load(recipe.read_text())), sort_keys=False))
    assert main([command_of(recipe), "--config", str(small), "--fast_dev_run"]) == 0, (
        capfd.readouterr()
    )
    assert [path.name for path in tmp_path.iterdir()] == [recipe.name], "a dry run leaves nothing"


@pytest.mark.benchmark
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_full_size_dry_run_of_every_recipe(recipe, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    arguments = [command_of(recipe), "--config", str(recipe), "--fast_dev_run"]
    assert main(arguments) == 0, capfd.readouterr()
