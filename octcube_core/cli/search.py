"""``octcube search``: the eyes of an archive that look like this one."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from octcube_core.cli.arguments import add_exam, add_runtime, positive, read_chosen
from octcube_core.cli.output import print_columns, print_json, print_lines, progress
from octcube_core.errors import InputError, printable

if TYPE_CHECKING:
    from octcube_core.exam import Modality
    from octcube_core.retrieval import EmbeddingIndex, LabelVote, Neighbour
    from octcube_core.retrieval.records import Identity

MODALITIES = ("oct", "ir", "faf", "cfp", "fa", "icga")


def add(commands: Any) -> None:
    """Add the command."""
    search = commands.add_parser(
        "search",
        help="find the most similar eyes in an index",
        description="Embed an exam and find the most similar eyes in an index, by the cosine of their embeddings.",
    )
    add_exam(search)
    search.add_argument(
        "--db", required=True, metavar="FILE_OR_URL", help="file of the index, or postgresql://..."
    )
    search.add_argument(
        "--by", choices=MODALITIES, help="which image of the exam is the query (default: its OCT)"
    )
    search.add_argument(
        "--to",
        choices=MODALITIES,
        help="which images to look among (default: those of the query's kind)",
    )
    search.add_argument("-k", type=positive, default=10, help="how many (default: 10)")
    search.add_argument("--eye", choices=("OD", "OS"), help="only this side")
    search.add_argument("--only-device", metavar="NAME", help="only exams of this device")
    search.add_argument("--label", metavar="NAME", help="only eyes with this label")
    search.add_argument(
        "--leave-out",
        choices=("none", "exam", "eye", "visit", "patient"),
        default="exam",
        help="what of the same person is not to be found (default: exam, the exam itself)",
    )
    search.add_argument(
        "--model", metavar="NAME_OR_FILE", help="where to load the model that made the index from"
    )
    search.add_argument("--json", action="store_true", help="print JSON")
    add_runtime(search)
    search.set_defaults(run=_search)


def _search(arguments: argparse.Namespace) -> None:
    from octcube_core.retrieval import EmbeddingIndex, Filters, label_votes

    with EmbeddingIndex(arguments.db, create=False) as index, progress() as on_progress:
        if index.model is None:
            raise InputError(
                f"The index {index.where} is empty; fill it with octcube index DIR --db ...."
            )
        _check_held(index, _modality(arguments.to))
        on_progress("Reading the exam", 0.0)
        exam = read_chosen(arguments)
        on_progress("Loading the model", 0.0)
        from octcube_core.checkpoints import load_model
        from octcube_core.embedding import embed, model_identity

        name = arguments.model or index.model.source
        if not name:
            raise InputError(
                f"Say with --model where {index.model.title} is, which made the index."
            )
        model = load_model(
            name, device=arguments.device, precision=arguments.precision, on_progress=on_progress
        )
        index.check_model(model_identity(model, name))
        on_progress("Running the network", 0.0)
        embedding = embed(exam, model)
        by, _ = embedding.of(_modality(arguments.by))
        to = _modality(arguments.to) or by
        filters = Filters(
            arguments.eye,
            arguments.only_device,
            arguments.label,
            None if arguments.leave_out == "none" else arguments.leave_out,
        )
        who = index.identity(exam)
        _check_held(index, to)
        found = index.search(embedding, by=by, to=to, k=arguments.k, filters=filters, exam=who)
    votes = label_votes(found)
    if arguments.json:
        print_json(_as_json(index, by, to, who, found, votes))
    else:
        _print(index, by, to, who, found, votes)


def _modality(word: str | None) -> Modality | None:
    return None if word is None else word.upper()  # type: ignore[return-value]


def _check_held(index: EmbeddingIndex, modality: str | None) -> None:
    """Refuse to look among images of which the index has none."""
    held = index.distinct("modality")
    if modality is not None and modality not in held:
        raise InputError(
            f"The index {index.where} holds embeddings of {', '.join(held)}, not of {modality}."
        )


def _as_json(
    index: EmbeddingIndex,
    by: str,
    to: str,
    who: Identity,
    found: list[Neighbour],
    votes: tuple[LabelVote, ...],
) -> dict[str, Any]:
    from octcube_core.results import DISCLAIMER

    return {
        "disclaimer": DISCLAIMER,
        "index": index.where,
        "model": None if index.model is None else index.model.title,
        "by": by,
        "to": to,
        "neighbours": [
            {
                "rank": rank,
                "similarity": round(each.similarity, 6),
                "eye": each.identity.laterality,
                "device": each.device,
                "labels": list(each.labels),
                "scores": dict(each.scores),
                "same_patient": same_patient(who, each.identity),
                "days_apart": days_apart(who, each.identity),
                "path": None if each.location is None else str(each.location.path),
                "part": None if each.location is None else each.location.part,
            }
            for rank, each in enumerate(found, 1)
        ],
        "votes": [{"label": vote.label, "count": vote.count, "of": vote.of} for vote in votes],
    }


def same_patient(who: Identity, other: Identity) -> bool | None:
    """Whether two exams are of one patient; None if either states none."""
    if who.patient is None or other.patient is None:
        return None
    return who.patient == other.patient


def days_apart(who: Identity, other: Identity) -> int | None:
    """Days from this visit to the other one of the same patient; None of others."""
    if not same_patient(who, other) or who.visit_day is None or other.visit_day is None:
        return None
    return other.visit_day - who.visit_day


def _print(
    index: EmbeddingIndex,
    by: str,
    to: str,
    who: Identity,
    found: list[Neighbour],
    votes: tuple[LabelVote, ...],
) -> None:
    from octcube_core.results import DISCLAIMER

    title = "" if index.model is None else f"{index.model.title}: "
    print_lines(f"{title}{DISCLAIMER}", f"{by} to {to}, among the eyes of {printable(index.where)}")
    if not found:
        print_lines("No eye passes the filters.")
        return
    rows = [
        (
            str(rank),
            f"{each.similarity:.3f}",
            each.identity.laterality or "",
            ", ".join(each.labels),
            _relation(who, each.identity),
            _place(each),
        )
        for rank, each in enumerate(found, 1)
    ]
    print_columns(("", "Similarity", "Eye", "Labels", "Patient", "Exam"), rows)
    if votes:
        counts = ", ".join(f"{vote.label} {vote.count}" for vote in votes)
        print_lines(f"Labels among {votes[0].of} labelled neighbours: {counts}")


def _relation(who: Identity, other: Identity) -> str:
    if not same_patient(who, other):
        return ""
    days = days_apart(who, other)
    return "same" if days is None else f"same, {days:+d} days"


def _place(neighbour: Neighbour) -> str:
    where = neighbour.location
    if where is None:
        return "(place unknown)"
    return f"{where.path} ({where.part})" if where.part else str(where.path)
