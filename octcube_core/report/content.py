"""What a report says, in words and pictures, before it is laid out."""

from __future__ import annotations

from dataclasses import dataclass

from octcube_core.errors import InputError
from octcube_core.exam import Exam
from octcube_core.report import words
from octcube_core.report.pictures import ReportPicture, front_picture, key_bscan_pictures
from octcube_core.results import DISCLAIMER, Analysis, DiseaseScore, why_no_report
from octcube_core.views import require_same

TITLE = "OCT analysis report"
MOST_SCORES, MOST_MEASUREMENTS = 14, 4  # what one page holds
MANY_SCORES = 10  # so many and more have names of one line
SCORES_NOTE = "Bar: the model's probability from 0 to 1; the mark on it is the threshold. At or above it: present."
NORMAL_NOTE = "Normal eye: 1 − the highest probability if any exceeds 0.5, else the mean probability of absence."


@dataclass(frozen=True)
class ScoreLine:
    """One disease; ``verdict`` and ``threshold`` are empty and None for the normal eye."""

    name: str
    probability: float
    threshold: float | None
    verdict: str

    @property
    def text(self) -> str:
        """The probability to two digits."""
        return f"{self.probability:.2f}"


@dataclass(frozen=True, eq=False)
class Report:
    """Everything on the page.

    Attributes
    ----------
    title, eye, disclaimer : str
    identity : rows of name and value
        Empty unless it was asked for.
    facts, measurements : rows of name and value
    scores : tuple of ScoreLine
        The most probable disease first, the normal eye last.
    score_notes : tuple of str
        How to read the scores.
    evidence : str
        Of what the pictures show the evidence.
    bscans : tuple of ReportPicture
    front : ReportPicture or None
    front_note : str
        Why the view from the front is not on a fundus image, or is none.
    notes : tuple of str
        Warnings, and what the run did otherwise than asked.
    model : tuple of str
    synthetic : tuple of str
        What of this is no real eye or no model for real eyes.
    """

    title: str
    eye: str
    disclaimer: str
    identity: words.Rows
    facts: words.Rows
    scores: tuple[ScoreLine, ...]
    score_notes: tuple[str, ...]
    measurements: words.Rows
    evidence: str
    bscans: tuple[ReportPicture, ...]
    front: ReportPicture | None
    front_note: str
    notes: tuple[str, ...]
    model: tuple[str, ...]
    synthetic: tuple[str, ...]

    @property
    def roomy(self) -> bool:
        """Whether the page has room for a large first B-scan, by an estimate of its height in mm."""
        rows = sum(5.2 if len(line.name) <= 30 else 8.2 for line in self.scores)
        rows += 20 + (14 + 5 * len(self.measurements)) * bool(self.measurements)
        notes = sum(3.6 * (1 + len(note) // 100) for note in self.notes)
        return 60 + 13 * bool(self.identity) + max(rows, 88) + 92 + 8 + notes < 264


def make_report(exam: Exam, analysis: Analysis, identity: bool = False) -> Report:
    """Put an analysis into words and pictures.

    Parameters
    ----------
    exam : Exam
    analysis : Analysis
        Of this exam.
    identity : bool
        Whether the report names the patient and the dates.

    Raises
    ------
    InputError
        If the model gives no scores, or the analysis is of another exam.
    """
    if why := why_no_report(analysis):
        raise InputError(why)
    require_same(exam, analysis)
    target = analysis.leading_targets()[0]  # not one that is absent, if another is present
    front, front_note = front_picture(exam, analysis, target)
    scores, notes = _scores(analysis)
    measured = [(each.name, each.text) for each in analysis.measurements]
    if len(measured) > MOST_MEASUREMENTS:
        notes += (_left_out(len(measured) - MOST_MEASUREMENTS, "values"),)
    synthetic = (
        *((words.SYNTHETIC_EYE,) if exam.format == "synthetic" else ()),
        *((words.SYNTHETIC_MODEL,) if analysis.card.synthetic else ()),
    )
    return Report(
        title=TITLE,
        eye=words.EYES[exam.laterality],
        disclaimer=DISCLAIMER,
        identity=words.identity(exam.patient) if identity else (),
        facts=words.facts(exam),
        scores=scores,
        score_notes=notes,
        measurements=tuple(measured[:MOST_MEASUREMENTS]),
        evidence=_evidence(analysis, target),
        bscans=key_bscan_pictures(exam, analysis, target),
        front=front,
        front_note=front_note,
        notes=tuple(dict.fromkeys((*exam.warnings, *analysis.warnings, *analysis.run_notes))),
        model=words.model_lines(analysis),
        synthetic=synthetic,
    )


def _scores(analysis: Analysis) -> tuple[tuple[ScoreLine, ...], tuple[str, ...]]:
    if not analysis.scores:
        return (), ()
    ranked = sorted(analysis.scores, key=lambda score: -score.probability)
    lines = [
        ScoreLine(
            _named(score),
            score.probability,
            score.threshold,
            "present" if score.present else "absent",
        )
        for score in ranked
    ]
    notes = [SCORES_NOTE]
    if len(lines) > MOST_SCORES:
        present = sum(score.present for score in ranked[MOST_SCORES:])
        notes.append(_left_out(len(lines) - MOST_SCORES, f"diseases ({present} of them present)"))
    lines = lines[:MOST_SCORES]
    if analysis.normal_probability is not None:
        lines.append(ScoreLine("Normal eye", analysis.normal_probability, None, ""))
        notes.append(NORMAL_NOTE)
    return tuple(lines), tuple(notes)


def _named(score: DiseaseScore) -> str:
    if score.abbreviation.lower() == score.name.lower():
        return score.name
    return f"{score.name} ({score.abbreviation})"


def _left_out(count: int, what: str) -> str:
    return f"{count} more {what} have no room here; the scores file has all of them."


def _evidence(analysis: Analysis, target: str) -> str:
    result = analysis.result_of(target)
    disease = isinstance(result, DiseaseScore)
    if not analysis.saliency[analysis.index(target)].any():
        none = "no evidence for" if disease else "nothing that raises"
        return f"The model found {none} {result.name} in the OCT"
    return f"{'Evidence for' if disease else 'What raises'} {result.name}: the brighter, the more"
