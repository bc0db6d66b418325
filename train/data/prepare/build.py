"""Sources -> a finished store: in parallel, in constant memory, and from where a killed run was."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr

from octcube_core.errors import InputError
from octcube_core.ordered_pool import OrderedPool
from train.data.prepare.exam_rows import Recipe, Refusal, Row
from train.data.prepare.journal import Block, Workplace
from train.data.prepare.manifest import manifest_of
from train.data.prepare.plan import Plan, lost, run, start
from train.data.prepare.sources import Listed
from train.data.salt import SALT, read_salt_file, write_salt
from train.data.store import (
    GROUP,
    PREPARATION,
    SHARD,
    StoreLayout,
    VolumeStore,
    create_arrays,
    write_manifest,
    write_shard,
)

ERRORS = "errors.parquet"
Facts = list[dict[str, Any]]
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Built:
    """What a run has done.

    Attributes
    ----------
    finished_before : whether there was nothing to do
    by_folder : exams that state no patient, whose folder counts as one
    loose : exams that state no patient and lie in no folder of one
    unusable : source (as the user spelled it, with all that it tells), reason and what was unexpected of each exam
        that could not be used
    """

    finished_before: bool = False
    by_folder: int = 0
    loose: int = 0
    unusable: tuple[tuple[str, str, str], ...] = ()


def build(
    plan: Plan, target: Path, workers: int, salt_file: Path | None, on_progress: OnProgress
) -> Built:
    """Make the store of a plan, or go on with it.

    Parameters
    ----------
    plan : Plan
    target : folder of the store
    workers : number of processes; the result does not depend on it
    salt_file : with the salt of the hashes; None has one made
    on_progress : told of the number of exams done and of all

    Returns
    -------
    Built

    Raises
    ------
    InputError
        If ``target`` is something else, its unfinished work is of another plan, or no exam can be used.
    """
    for source in plan.sources:
        if not Path(source).expanduser().exists():
            raise InputError(f"{source} does not exist; check the path.")
    listing = plan.listing()
    given = read_salt_file(salt_file) if salt_file is not None else None
    if target.exists():
        _check_finished(plan, listing, target, given)
        stated = pd.read_parquet(target / ERRORS).to_dict("records")
        return Built(finished_before=True, unusable=_unusable(stated, listing))
    work = Workplace(target)
    work.open()
    try:
        salt = _begin(work, plan, listing, given)
        rows, errors = _make_rows(work, plan, listing, salt, workers, on_progress)
        if not rows:
            work.discard()
            raise InputError(
                f"None of the {len(listing)} exams could be used; the first: {errors[0]['source']}: "
                f"{errors[0]['reason']}"
                + (f" ({errors[0]['unexpected']})" if errors[0]["unexpected"] else "")
            )
        _finish(work.store, plan, listing, salt, rows, errors)
        work.publish()
    finally:
        work.close()
    loose = sum(row["loose"] for row in rows)
    by_folder = sum(not row["named"] for row in rows) - loose
    return Built(by_folder=by_folder, loose=loose, unusable=_unusable(errors, listing))


def _unusable(errors: Facts, listing: Sequence[Listed]) -> tuple[tuple[str, str, str], ...]:
    return tuple(
        (listing[error["number"]].shown, error["reason"], error["unexpected"]) for error in errors
    )


def _check_finished(plan: Plan, listing: Sequence[Listed], target: Path, given: str | None) -> None:
    """Raise InputError unless the target is the finished store of the plan."""
    stated, salted = target / PREPARATION, target / SALT
    salt = read_salt_file(salted) if salted.is_file() else given
    if not stated.is_file() or salt is None:
        raise InputError(f"{target} exists already; choose another folder or delete it first.")
    if json.loads(stated.read_text(encoding="utf-8"))["plan"] != plan.fingerprint(listing, salt):
        raise InputError(
            f"{target} is the finished store of other sources or options, and a finished store is not added to, as "
            "it keeps no dates by which to number further visits; choose another folder, or delete it to prepare all "
            "anew."
        )
    # Only if the run was killed between its last two steps is there anything left.
    shutil.rmtree(Workplace(target).folder, ignore_errors=True)


def _begin(work: Workplace, plan: Plan, listing: Sequence[Listed], given: str | None) -> str:
    """Make the empty store, or check that the unfinished one is of the same plan; returns the salt."""
    if work.exists:
        salt = read_salt_file(work.store / SALT)
        work.check(plan.fingerprint(listing, given or salt))
        return salt
    shutil.rmtree(work.store, ignore_errors=True)
    work.store.mkdir()
    salt = given or secrets.token_hex(16)
    write_salt(work.store / SALT, salt)
    recipe = plan.recipe
    images = {name: recipe.image_shape(name) for name in recipe.modalities}
    create_arrays(work.store, StoreLayout(len(listing), recipe.size, images, codec=plan.codec))
    work.begin(plan.fingerprint(listing, salt))
    return salt


def _make_rows(
    work: Workplace,
    plan: Plan,
    listing: Sequence[Listed],
    salt: str,
    workers: int,
    on_progress: OnProgress,
) -> tuple[Facts, Facts]:
    """Prepare the exams that are left and write their shards; returns the facts of all rows and all errors."""
    blocks = work.blocks()
    rows = [row for block in blocks for row in block.rows]
    errors = [error for block in blocks for error in block.errors]
    taken = blocks[-1].taken if blocks else 0
    seen = {row["content"]: row["shown"] for row in rows}
    on_progress(taken, len(listing))

    pool: OrderedPool[Row | Refusal] = OrderedPool(
        run, workers, start, (plan, salt), lambda number: lost(listing[number], salt)
    )
    full: list[Row] = []
    new_errors: Facts = []
    for number, outcome in pool.results(range(taken, len(listing))):
        if isinstance(outcome, Row) and outcome.facts["content"] in seen:
            first = seen[outcome.facts["content"]]
            outcome = Refusal(outcome.facts["shown"], f"It is the same scan as {first}.")
        if isinstance(outcome, Refusal):
            new_errors.append(
                {
                    "number": number,
                    "source": outcome.shown,
                    "reason": outcome.reason,
                    "unexpected": outcome.unexpected,
                }
            )
        else:
            outcome.facts["number"] = number
            seen[outcome.facts["content"]] = outcome.facts["shown"]
            full.append(outcome)
        last = number + 1 == len(listing)
        if len(full) == SHARD or (last and (full or new_errors)):
            block = Block(number + 1, [row.facts for row in full], new_errors)
            if full:
                _write(work.store, len(rows), full, plan.recipe)
            work.add(block, len(rows) // SHARD)
            rows += block.rows
            errors += new_errors
            full, new_errors = [], []
        on_progress(number + 1, len(listing))
    return rows, errors


def _write(store: Path, first: int, rows: Sequence[Row], recipe: Recipe) -> None:
    images = {}
    for name in recipe.modalities:
        if any(name in row.images for row in rows):
            missing = np.zeros(recipe.image_shape(name), np.uint8)
            images[name] = np.stack([row.images.get(name, missing) for row in rows])
    write_shard(store, first, np.stack([row.volume for row in rows]), images)


def _finish(
    store: Path,
    plan: Plan,
    listing: Sequence[Listed],
    salt: str,
    rows: Facts,
    errors: Facts,
) -> None:
    """Cut the arrays to the exams there are, and write the tables; the manifest last."""
    group = zarr.open_group(store / GROUP, mode="r+")
    present = {name for row in rows for name in row["modalities"]}
    for name in ("volumes", *(f"images/{name}" for name in plan.recipe.modalities)):
        if name not in group:
            continue  # removed by a run that was killed here
        if name == "volumes" or name.removeprefix("images/") in present:
            array = group[name]
            assert isinstance(array, zarr.Array)
            array.resize((len(rows), *array.shape[1:]))
        else:
            shutil.rmtree(store / GROUP / name)
    table = pd.DataFrame(errors, columns=["number", "source", "reason", "unexpected"])
    types = {"number": "int64", "source": "string", "reason": "string", "unexpected": "string"}
    table.astype(types).to_parquet(store / ERRORS, index=False)
    recipe = asdict(plan.recipe)
    stated = {"plan": plan.fingerprint(listing, salt), **recipe, "seed": plan.seed}
    text = json.dumps(stated | {"split": plan.shares}, indent=2)
    (store / PREPARATION).write_text(f"{text}\n", encoding="utf-8")
    visits = [listing[row["number"]].visit for row in rows]
    write_manifest(store, manifest_of(rows, visits, plan.shares, plan.seed))
    VolumeStore.open(store)
