"""analyze(): what a user gets for one exam and one model."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

import octcube_core
from octcube_core.analysis import analyze
from octcube_core.bench import measure, random_model
from octcube_core.checkpoints.card import Label
from octcube_core.errors import AnalysisCancelled, InputError
from octcube_core.exam import Exam, OCTVolume
from octcube_core.findings import normal_probability
from octcube_core.models.family import network
from octcube_core.models.heads import disease_probabilities
from octcube_core.preprocess import prepare
from octcube_core.views import peak_voxel, saliency_of_bscan

SHAPE = (12, 32, 48)
DEPTH = 3


@pytest.fixture(scope="module")
def model():
    return random_model(DEPTH, 64, 2, SHAPE, final_residual=True)


@pytest.fixture(scope="module")
def exam() -> Exam:
    voxels = np.random.default_rng(0).integers(0, 256, (19, 50, 61), dtype=np.uint8)
    return Exam(OCTVolume(voxels), format="synthetic", scan_pattern="raster")


@pytest.fixture(scope="module")
def analysis(exam, model):
    return analyze(exam, model)


def _with_card(model, **changes):
    changed = random_model(DEPTH, 64, 2, SHAPE, final_residual=True)
    changed.load_state_dict(model.state_dict())
    changed.card = dataclasses.replace(model.card, **changes)
    return changed


def test_scores_are_the_models_probabilities(analysis, exam, model) -> None:
    with torch.no_grad():
        expected = disease_probabilities(model(prepare(exam, model.card)[0]))[0]
    np.testing.assert_allclose([s.probability for s in analysis.scores], expected, atol=1e-6)
    assert [s.abbreviation for s in analysis.scores] == [f"D{n}" for n in range(1, 9)]


def test_temperature_and_thresholds_of_the_card_are_used(analysis, exam, model) -> None:
    labels = tuple(Label("Disease", f"D{n}", ("H35.05",), 0.1 * n) for n in range(1, 9))
    softer = analyze(exam, _with_card(model, temperature=4.0, labels=labels))
    for soft, sharp, label in zip(softer.scores, analysis.scores, labels, strict=True):
        assert abs(soft.probability - 0.5) < abs(sharp.probability - 0.5)
        assert soft.threshold == label.threshold
        assert soft.icd10 == ("H35.05",)
        assert soft.present == (soft.probability >= label.threshold)


def test_the_card_names_the_saliency_method_and_the_caller_may_choose_another(
    analysis, exam, model
) -> None:
    assert analysis.method == "Grad-CAM++"
    other = analyze(exam, _with_card(model, saliency="hirescam"))
    assert other.method == "HiResCAM"
    assert np.abs(other.saliency - analysis.saliency).max() > 0.1
    asked = analyze(exam, model, saliency="hirescam")
    np.testing.assert_array_equal(asked.saliency, other.saliency)
    with pytest.raises(InputError, match=r"'smoothgrad'; known are gradcam\+\+, gradcam, "):
        analyze(exam, model, saliency="smoothgrad")


def test_saliency_lies_on_the_token_grid_of_the_exam(analysis) -> None:
    assert analysis.saliency.shape == (8, 4, 2, 3)
    assert analysis.saliency.dtype == np.float32
    assert analysis.grid.volume_shape == (19, 50, 61)
    assert analysis.grid.shape == (4, 2, 3)
    for scaled, peak in zip(analysis.saliency, analysis.saliency_peak, strict=True):
        assert scaled.max() == (1.0 if peak > 0 else 0.0)
        assert scaled.min() >= 0.0


def test_the_embedding_is_the_pooled_vector_in_fp32(analysis, exam, model) -> None:
    with torch.no_grad():
        expected = model.encoder(prepare(exam, model.card)[0])[0, 1:].mean(dim=0)
    np.testing.assert_allclose(analysis.embedding, expected, atol=1e-6)
    half = analyze(exam, random_model(DEPTH, 64, 2, SHAPE, dtype=torch.bfloat16))
    assert half.embedding.dtype == np.float32
    assert half.precision == "bf16"


def test_the_same_bits_twice(analysis, exam, model) -> None:
    again = analyze(exam, model)
    np.testing.assert_array_equal(again.saliency, analysis.saliency)
    np.testing.assert_array_equal(again.saliency_peak, analysis.saliency_peak)
    np.testing.assert_array_equal(again.embedding, analysis.embedding)
    assert again.scores == analysis.scores
    assert again.normal_probability == analysis.normal_probability


_DIGESTS = """
import hashlib, sys
import numpy as np, torch
from octcube_core.analysis import analyze
from octcube_core.checkpoints.card import SALIENCY_LAYERS, SALIENCY_METHODS
from octcube_core.exam import Exam, OCTVolume
from octcube_core.findings import normal_probability
from octcube_core.models.random_weights import random_model

def digests(threads):
    torch.set_num_threads(threads)
    model = random_model(2, 128, 2, (12, 160, 160), final_residual=True)
    voxels = np.random.default_rng(0).integers(0, 256, (19, 150, 161), dtype=np.uint8)
    exam, found = Exam(OCTVolume(voxels), format="synthetic"), {}
    for layer in SALIENCY_LAYERS:
        for method in SALIENCY_METHODS:
            ran = analyze(exam, model, layer=layer, saliency=method)
            bits = [ran.saliency, ran.saliency_peak, ran.embedding]
            bits.append(np.array([score.probability for score in ran.scores]))
            found[layer, method] = hashlib.sha256(b"".join(part.tobytes() for part in bits)).hexdigest()
    return found
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_bits_in_this_process_and_in_another_by_every_method_at_every_layer(
    threads: int,
) -> None:
    space: dict[str, Any] = {}
    exec(_DIGESTS, space)
    before = torch.get_num_threads()
    try:
        first, second = space["digests"](threads), space["digests"](threads)
    finally:
        torch.set_num_threads(before)
    assert first == second
    assert len(set(first.values())) == len(first) == 12
    code = f"{_DIGESTS}\nprint(digests({threads}))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == str(first)


def test_the_network_runs_in_pytorchs_deterministic_mode_which_ends_with_it(exam, model) -> None:
    modes = {}

    def stop_at_the_last_map(stage: str, fraction: float) -> None:
        modes[stage] = torch.get_deterministic_debug_mode()
        if stage == "Explaining D8":
            raise AnalysisCancelled("stopped")

    with pytest.raises(AnalysisCancelled):
        analyze(exam, model, on_progress=stop_at_the_last_map)
    assert modes.pop("Preparing the volume") == torch.get_deterministic_debug_mode() == 0
    assert set(modes.values()) == {2}


def test_what_it_ran_on_and_how_long_it_took(analysis) -> None:
    assert (analysis.device, analysis.precision) == ("CPU", "fp32")
    stages = dict(analysis.timings_s)
    total = stages.pop("total")
    assert list(stages) == ["preprocess", "network", "saliency"]
    assert total == pytest.approx(sum(stages.values()))
    assert min(stages.values()) > 0


def test_progress_rises_to_one_over_every_block_and_map(exam, model) -> None:
    reports: list[tuple[str, float]] = []
    analyze(exam, model, on_progress=lambda stage, fraction: reports.append((stage, fraction)))
    fractions = [fraction for _, fraction in reports]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0.0
    assert fractions[-1] == pytest.approx(1.0)
    assert len(set(fractions)) >= DEPTH + 8
    stages = list(dict.fromkeys(stage for stage, _ in reports))
    names = [f"Explaining D{n}" for n in range(1, 9)]
    assert stages == ["Preparing the volume", "Running the network", *names]


@pytest.mark.parametrize("after", range(0, 14))
def test_an_exception_from_the_callback_aborts_and_leaves_the_model_usable(
    exam, model, analysis, after: int
) -> None:
    calls = 0

    def cancel(stage: str, fraction: float) -> None:
        nonlocal calls
        calls += 1
        if calls > after:
            raise AnalysisCancelled("stopped")

    with pytest.raises(AnalysisCancelled):
        analyze(exam, model, on_progress=cancel)
    assert calls == after + 1
    if after == 13:
        np.testing.assert_array_equal(analyze(exam, model).saliency, analysis.saliency)


@pytest.mark.parametrize(
    ("probabilities", "normal"),
    [((0.1, 0.3), 0.8), ((0.1, 0.9), 0.1), ((0.5, 0.5), 0.5), ((0.6, 0.7), 0.3)],
)
def test_normal_as_the_reference_reports_it(probabilities, normal: float) -> None:
    assert normal_probability(np.array(probabilities, np.float32)) == pytest.approx(normal)


EYE, WHOLE_BODY = Label("DME", "DME", ("E10.311", "E11.311")), Label("Stroke", "I63", ("I63",))


@pytest.mark.parametrize(
    ("second", "exclusive", "reported"),
    [
        (Label("RNV", "RNV", ("H35.05",)), False, True),
        (Label("RNV", "RNV", ("H35.05",)), True, False),
        (WHOLE_BODY, False, False),
        (Label("Diabetes", "E11", ("E11", "E11.311")), False, False),
        (Label("Of no known code", "X"), False, False),
        (None, False, False),
    ],
)
def test_only_several_diseases_of_the_eye_say_that_an_eye_is_normal(
    exam, second, exclusive, reported
) -> None:
    labels = (EYE,) if second is None else (EYE, second)
    card = random_model(1, 64, 2, SHAPE).card
    card = dataclasses.replace(card, labels=labels, exclusive=exclusive)
    card = dataclasses.replace(
        card, architecture=dataclasses.replace(card.architecture, outputs=card.outputs)
    )
    found = analyze(exam, network(card).eval())
    assert (found.normal_probability is not None) == reported
    if reported:
        scores = np.array([score.probability for score in found.scores])
        assert found.normal_probability == pytest.approx(normal_probability(scores))


def test_warnings_say_what_a_reader_should_know(exam, model) -> None:
    assert analyze(exam, model).warnings == ()
    few = dataclasses.replace(
        exam,
        volume=OCTVolume(exam.volume.voxels[:7]),
        scan_pattern="radial",
        format="DICOM",
        warnings=("The spacing is unknown.",),
    )
    warnings = analyze(few, model).warnings
    assert warnings[0] == "The spacing is unknown."
    text = " ".join(warnings[1:])
    assert "7 B-scans, fewer than the 12 frames" in text
    assert "radial pattern" in text
    assert "synthetic eyes only; its scores on a real eye mean nothing" in text
    assert len(analyze(few, _with_card(model, synthetic=False)).warnings) == 3


def test_a_model_in_training_mode_is_refused(exam, model) -> None:
    training = _with_card(model).train()
    with pytest.raises(InputError, match="training mode"):
        analyze(exam, training)


def test_scores_that_overflow_are_not_shown(exam, model) -> None:
    broken = _with_card(model)
    broken.head.linear.weight.data.fill_(torch.inf)
    with pytest.raises(InputError, match="not finite"):
        analyze(exam, broken)


def test_it_is_part_of_the_public_face() -> None:
    assert octcube_core.analyze is analyze


def test_the_benchmark_reports_what_it_measured() -> None:
    report = measure(
        depth=2, embed_dim=64, num_heads=1, input_shape=SHAPE, precision="fp32", device="cpu"
    )
    assert report["ratio"] == pytest.approx(report["analyze_s"] / report["forward_s"])
    assert report["device"] == "CPU"
    assert report["precision"] == "fp32"
    assert report["threads"] >= 1
    with pytest.raises(InputError, match="do not divide"):
        measure(depth=1, input_shape=(60, 250, 256))


def test_volumes_of_other_devices_are_seen_as_in_training_and_maps_lie_where_they_were(
    exam, model
) -> None:
    """Tissue between two black bands: the same scores and maps as of the tissue alone, at its place."""
    tissue = exam.volume.voxels
    depth = tissue.shape[1]
    black = np.zeros((tissue.shape[0], 40, tissue.shape[2]), tissue.dtype)
    padded = dataclasses.replace(
        exam.volume, voxels=np.concatenate([black, tissue // 2 + 120, black], axis=1)
    )
    alone = dataclasses.replace(padded, voxels=padded.voxels[:, 40 : 40 + depth])
    topcon = dataclasses.replace(exam, volume=padded, device="Topcon 3D OCT-2000")
    trained_so = _with_card(model, cross_device="auto")
    there = analyze(topcon, trained_so)
    expected = analyze(dataclasses.replace(topcon, volume=alone), trained_so)
    assert there.grid.depth == (40, 40 + depth)
    np.testing.assert_array_equal(there.saliency, expected.saliency)
    assert [s.probability for s in there.scores] == [s.probability for s in expected.scores]
    assert any(f"depth samples 41 to {40 + depth}" in note for note in there.run_notes)
    target = there.targets[0]
    peak, before = peak_voxel(there, target), peak_voxel(expected, target)
    assert peak == (before[0], before[1] + 40, before[2])
    seen = saliency_of_bscan(there, target, peak[0])
    np.testing.assert_allclose(
        seen[40 : 40 + depth], saliency_of_bscan(expected, target, peak[0]), atol=1e-6
    )
    assert not seen[:40].any()
    assert not seen[40 + depth :].any()
    spectralis = analyze(dataclasses.replace(topcon, device="Heidelberg Spectralis"), trained_so)
    assert spectralis.grid.depth is None
