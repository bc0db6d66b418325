"""Splits written down: a JSON file with the settings and the patients (hashes) of every split and fold."""

from __future__ import annotations

import json
from pathlib import Path

from octcube_core.errors import InputError
from octcube_core.whole_file import whole_file

FORMAT = 1


def write_splits(path: Path, settings: dict[str, object], every: list[dict[str, str]]) -> None:
    """Write the split of each patient, for each fold; the file appears when it is whole."""
    folds = []
    for words in every:
        groups: dict[str, list[str]] = {}
        for patient, word in words.items():
            groups.setdefault(word, []).append(patient)
        folds.append(groups)
    text = json.dumps({"format": FORMAT, "settings": settings, "folds": folds}, indent=1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            partial.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"The splits cannot be written to {path} ({error.strerror}).") from error


def read_splits(
    path: Path, settings: dict[str, object], patients: set[str]
) -> list[dict[str, str]]:
    """Read ``write_splits``'s file.

    Raises
    ------
    InputError
        If it is damaged, of other settings, or lacks one of the patients.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        theirs = content["settings"]
        every = [
            {patient: word for word, group in fold.items() for patient in group}
            for fold in content["folds"]
        ]
        listed = [sum(map(len, fold.values())) for fold in content["folds"]]
        known = content["format"] == FORMAT and isinstance(theirs, dict)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is no file of splits; delete it or name another.") from error
    if not known or not every or listed != [len(words) for words in every]:
        raise InputError(f"{path} is no sound file of splits; delete it or name another.")
    changed = [name for name in settings if theirs.get(name) != settings[name]]
    if changed:
        name = changed[0]
        raise InputError(
            f"{path} was drawn with {name} {theirs.get(name)}, but the settings say {settings[name]}; give those "
            "settings or another splits.file."
        )
    if missing := [words for words in every if not patients <= words.keys()]:
        lacking = len(patients - missing[0].keys())
        raise InputError(
            f"{path} lacks {lacking} of the {len(patients)} patients with labels, so it is of other data; name "
            "another splits.file."
        )
    return every
