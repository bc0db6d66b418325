"""``octcube models``: which models have a name, whether they are here, and what their authors say of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from octcube_core.checkpoints.card import CARD_KEY, Label, ModelCard, ReportedFigure
from octcube_core.checkpoints.released import NAMES, PACKAGED, RELEASED, ReleasedModel
from octcube_core.cli.output import print_columns, print_json, print_lines, print_table
from octcube_core.errors import CheckpointError

KINDS = {
    "classifier": "classifier",
    "regression": "regression",
    "mae": "masked autoencoder of OCT volumes",
    "coep": "OCT and en-face images in one space (COEP)",
    "encoder": "encoder of OCT volumes",
    "enface": "encoder of images",
}


def add(commands: Any) -> None:
    """Add the command."""
    models = commands.add_parser("models", help="list the models that have a name, or explain one")
    models.add_argument(
        "name", nargs="?", metavar="NAME_OR_FILE", help="explain this one; nothing is downloaded"
    )
    models.add_argument("--json", action="store_true", help="print JSON")
    models.set_defaults(run=_models)


def _models(arguments: argparse.Namespace) -> None:
    if arguments.name is not None:
        facts = _facts(arguments.name)
        if arguments.json:
            print_json(facts)
        else:
            _print_one(facts)
        return
    models = [_facts(name) for name in NAMES]
    if arguments.json:
        print_json(models)
    else:
        _print_all(models)


def _facts(name: str) -> dict[str, Any]:
    from octcube_core.checkpoints.hub import existing_file, find_local, is_address

    if model := RELEASED.get(name):
        return _released_facts(name, model, find_local(name))
    path = find_local(name)
    if path is None and is_address(name):
        raise CheckpointError(
            f"{name} is not on this computer, and octcube models downloads nothing; octcube convert {name} --to FILE "
            "fetches it."
        )
    if path is None and name not in PACKAGED:
        path = existing_file(name)
    if path is None or not path.is_file():
        raise CheckpointError(
            f"There is no model or file {name!r} to explain; models by name: {', '.join(NAMES)}."
        )
    return _card_facts(name, path, _card_in(path))


def _released_facts(name: str, model: ReleasedModel, path: Path | None) -> dict[str, Any]:
    return {
        "name": name,
        "title": model.title,
        "version": model.version,
        "does": model.does,
        "kind": model.kind,
        "repository": model.repository,
        "file": model.file,
        "gated": model.gated,
        **_presence(path, model.size),
        "input": model.input,
        "licence": model.licence,
        "intended_use": model.intended_use,
        "trained_on": model.trained_on,
        "synthetic": False,
        "labels": _labels(model.labels),
        "reported": _reported(model.reported),
        "sources": list(model.sources),
    }


def _card_facts(name: str, path: Path, card: ModelCard) -> dict[str, Any]:
    labels = f" of {len(card.labels)} {'classes' if card.exclusive else 'diseases'}"
    return {
        "name": name,
        "title": card.name,
        "version": card.version,
        "does": KINDS[card.kind] + (labels if card.labels else ""),
        "kind": card.kind,
        "repository": None,
        "file": path.name,
        "gated": False,
        **_presence(path, ""),
        "input": _input(card),
        "licence": card.licence,
        "intended_use": card.intended_use,
        "trained_on": card.trained_on,
        "synthetic": card.synthetic,
        "labels": _labels(card.labels),
        "reported": _reported(card.reported),
        "sources": list(card.notes.get("sources", ())),
    }


def _presence(path: Path | None, stated_size: str) -> dict[str, Any]:
    return {
        "present": path is not None,
        "place": _place(path) if path else None,
        "path": str(path) if path else None,
        "size_bytes": path.stat().st_size if path else None,
        "stated_size": stated_size or None,
    }


def _place(path: Path) -> str:
    from octcube_core.checkpoints.hub import models_folder

    if path in PACKAGED.values():
        return "packaged"
    if path.parent == models_folder():
        return "models folder"
    return "downloaded" if "snapshots" in path.parts else "file"


def _input(card: ModelCard) -> str:
    """What a card's model sees."""
    first, height, width = card.architecture.input_shape
    text = f"OCT, {first} x {height} x {width} (frames x depth x width)"
    if card.architecture.planar:
        kind = f"{' or '.join(card.enface_modalities)} image".lstrip()
        text = f"an {kind} of {height} x {width}, three channels"
    if card.alignment is not None:
        _, rows, columns = card.alignment.enface.input_shape
        text += f", and {' and '.join(card.alignment.modalities)} images of {rows} x {columns}"
    if card.targets:
        names = (f"{target.name} ({target.unit or 'unit unknown'})" for target in card.targets)
        text += f"; predicts {', '.join(names)}"
    return text


def _labels(labels: tuple[Label, ...]) -> list[dict[str, Any]]:
    return [
        {"name": label.name, "abbreviation": label.abbreviation, "icd10": list(label.icd10)}
        for label in labels
    ]


def _reported(figures: tuple[ReportedFigure, ...]) -> list[dict[str, str]]:
    return [
        {"task": row.task, "metric": row.metric, "value": row.value, "source": row.source}
        for row in figures
    ]


def _card_in(path: Path) -> ModelCard:
    """The card in a file of our format, read without torch."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(CARD_KEY)
    except (SafetensorError, OSError):
        text = None
    if text is None:
        raise CheckpointError(
            f"{path} holds no model card, so nothing is known of it; octcube convert writes files that hold one."
        )
    return ModelCard.from_json(text)


def _print_all(models: list[dict[str, Any]]) -> None:
    from octcube_core.checkpoints.hub import FOLDER_VARIABLE, models_folder

    header = ("Name", "What it is", "Size", "Here", "Access", "Licence", "Labels")
    print_columns(header, [_cells(facts) for facts in models])
    print_lines(
        "",
        "A model that is not here is downloaded on first use. Without a network, put its file into the folder",
        f"{models_folder()} (or another that {FOLDER_VARIABLE} names), or give the file's path instead of the name.",
        "octcube models NAME says which file, from where, and all that is known of the model.",
    )


def _cells(facts: dict[str, Any]) -> tuple[str, ...]:
    return (
        facts["name"],
        facts["does"] + (" (synthetic)" if facts["synthetic"] else ""),
        _size(facts),
        facts["place"] or "no",
        "on request" if facts["gated"] else "open",
        facts["licence"].partition(";")[0],
        ", ".join(label["abbreviation"] for label in facts["labels"]),
    )


def _size(facts: dict[str, Any]) -> str:
    if facts["size_bytes"] is None:
        return facts["stated_size"] or "unknown"
    size = facts["size_bytes"] / 1e6
    return f"{size / 1e3:.2f} GB" if size >= 1e3 else f"{size:.1f} MB"


def _print_one(facts: dict[str, Any]) -> None:
    rows = [
        ("Model", f"{facts['title']} {facts['version']}"),
        ("What it is", facts["does"] + (" (synthetic)" if facts["synthetic"] else "")),
        ("Input", facts["input"]),
        ("Here", facts["path"] or "no"),
        ("Size", _size(facts)),
    ]
    if facts["repository"]:
        page = f"https://huggingface.co/{facts['repository']}"
        ask = "; ask there for access, then hf auth login" if facts["gated"] else ""
        rows.append(("From", f"{facts['file']} of {page}{ask}"))
    rows += [
        ("Licence", facts["licence"]),
        ("Intended use", facts["intended_use"]),
        ("Trained on", facts["trained_on"]),
    ]
    if facts["sources"]:
        rows.append(("Sources", " ".join(facts["sources"])))
    print_table(rows)
    if facts["labels"]:
        print_lines("", "Labels")
        print_columns(
            ("Disease", "Abbreviation", "ICD-10"),
            [
                (row["name"], row["abbreviation"], ", ".join(row["icd10"]))
                for row in facts["labels"]
            ],
        )
    if facts["repository"] and not facts["reported"]:
        print_lines("", "Reported by its authors: no figure of this file was found.")
    elif facts["reported"]:
        print_lines("", "Reported by the paper, not verified here")
        print_columns(
            ("Task", "Metric", "Value", "Source"),
            [tuple(row.values()) for row in facts["reported"]],
        )
