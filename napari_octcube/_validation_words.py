"""How a model was validated, in the words of its card. No Qt."""

from __future__ import annotations

import textwrap

from octcube_core.checkpoints.card import ModelCard, ReportedFigure

WIDTH = 90  # letters
NO_FIGURES = "Validation: no figures were published."


def validation(card: ModelCard, name: str, abbreviation: str) -> str:
    """A few lines on what is known of how well a model scores a disease or measures a value.

    Figures of that target where there are some, else those of the model as a whole.
    """
    own = [row for row in card.reported if _is_about(row, name, abbreviation)]
    lines = [NO_FIGURES] if not card.reported else []
    if card.reported:
        of = f"of {abbreviation}" if own else f"of the model as a whole, none of {abbreviation}"
        lines.append(f"Validation: figures {of}, as published, not verified here:")
        for row in own or card.reported:
            lines.append(f"• {row.task}: {row.metric} {row.value} ({row.source})")
    lines += _calibration(card)
    lines.append(f"Trained on: {card.trained_on}")
    if card.synthetic:
        lines.append("Says nothing about real eyes.")
    return "\n".join(_wrapped(line) for line in lines)


def _wrapped(line: str) -> str:
    # Qt breaks no line of a plain tooltip, and sources are long
    return textwrap.fill(line, WIDTH, subsequent_indent="   ", break_long_words=False)


def _is_about(row: ReportedFigure, name: str, abbreviation: str) -> bool:
    return name.lower() in row.task.lower() or abbreviation in row.task.replace(",", " ").split()


def _calibration(card: ModelCard) -> list[str]:
    facts = card.notes.get("calibration")
    if not isinstance(facts, dict):
        return []
    exams, patients = facts.get("exams"), facts.get("patients")
    size = f" on {exams} eyes of {patients} patients" if exams and patients else ""
    date = f" ({facts['date']})" if facts.get("date") else ""
    chosen = f"Thresholds by {facts['thresholds']}" if facts.get("thresholds") else "Calibrated"
    return [f"{chosen}{size}{date}; the same eyes are no test of it."]
