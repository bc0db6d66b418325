"""Synthetic eyes that two devices saw: the demo model finds an eye of one among those of the other."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd

from octcube_core.phantom import make_cohort, make_visit
from train.__main__ import main
from train.data.phantom_rows import BENCHMARK_EYES, Job, Request, pictures_of, row_of
from train.data.store import StoreLayout, new_store, write_manifest, write_shard


def test_the_demo_model_finds_eyes_again_on_another_device(tmp_path):
    plans = make_cohort((BENCHMARK_EYES, 3), 6, visits=(1, 1), missing={}, shape=(30, 128, 128))
    request = Request("eyes", 6, True, (30, 128, 128), (128, 128))
    exams = [
        (style, make_visit(replace(plan, visit=seen, setting=replace(plan.setting, style=style))))
        for plan in plans
        # Another number of the visit draws gaze, tilt and noise anew.
        for seen, style in enumerate(("spectralis", "cirrus"), 1)
    ]
    rows = [
        row_of(Job(make_visit, f"patient{number // 4}", style), exam)
        for number, (style, exam) in enumerate(exams)
    ]
    pictures = [pictures_of(exam, request) for _, exam in exams]
    images = {name: np.stack([each[name] for _, each in pictures]) for name in ("IR", "FAF")}
    layout = StoreLayout(len(rows), request.volume_shape, dict.fromkeys(images, (128, 128)))
    with new_store(tmp_path / "eyes", layout) as folder:
        write_shard(folder, 0, np.stack([volume for volume, _ in pictures]), images)
        write_manifest(folder, pd.DataFrame(rows).assign(split="test", visit=1))
    out = tmp_path / "out"
    asked = ["--model=demo-coep", f"--store={tmp_path / 'eyes'}", f"--out={out}", "--workers=0"]
    devices = ["--query_device=spectralis", "--index_device=cirrus"]
    assert main(["evaluate", "retrieval", *asked, *devices, "--device=cpu"]) == 0
    figures = json.loads((out / "metrics.json").read_text())["targets"]["OCT to OCT"]
    assert figures["recall@1"]["candidates"] == 12
    assert figures["recall@1"]["value"] > 0.5
    assert figures["mean_rank"]["value"] < 3
