"""Fast mode: a token that stands for w tokens counts as w tokens, everywhere; and every result says what was done."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from aligned import aligned_model

from octcube_core.analysis import analyze
from octcube_core.bench import measure
from octcube_core.checkpoints.card import (
    SALIENCY_LAYERS,
    SALIENCY_METHODS,
    Architecture,
    ModelCard,
)
from octcube_core.checkpoints.zoo import load_model
from octcube_core.cli import main
from octcube_core.exam import Exam, OCTVolume
from octcube_core.memory import CHUNK_TOKENS
from octcube_core.models import attention as attention_module
from octcube_core.models.attention import attention, attention_backend
from octcube_core.models.blocks import MLP, SelfAttention, mean_of_tokens
from octcube_core.models.octcube import FeatureEncoder
from octcube_core.models.random_weights import random_model
from octcube_core.phantom import DISEASES, make_exam
from octcube_core.saliency import CachedTail, disease_logit, saliency_maps
from octcube_core.tissue import TokenSample
from octcube_core.worker_protocol import Analyze

GRID = (4, 2, 3)
SHAPE = (12, 32, 48)
TOKENS = 24
TARGETS = [disease_logit(disease) for disease in range(8)]


@pytest.fixture(params=[False, True], ids=["released", "final_residual"])
def model(request):
    return random_model(3, 64, 2, SHAPE, final_residual=request.param)


def _copies() -> tuple[TokenSample, torch.Tensor]:
    """A sample of five kinds of background tokens, and which token each token of the grid is a copy of."""
    tissue = torch.zeros(TOKENS, dtype=torch.bool)
    tissue[[1, 4, 5, 9, 13, 14, 20]] = True
    source = torch.arange(TOKENS)
    background = source[~tissue]
    source[background] = background[:5].repeat(4)[: len(background)]
    index, stand_in = source.unique(return_inverse=True)
    return TokenSample(index, stand_in, tissue.reshape(GRID)), source


def _with_identical_tokens(model, source: torch.Tensor) -> torch.Tensor:
    """A volume whose background tokens are copies of each other for this model, in voxels and positions."""
    generator = torch.Generator().manual_seed(1)
    cubes = torch.rand(TOKENS, 3, 16, 16, generator=generator)[source]
    volume = cubes.reshape(*GRID, 3, 16, 16).permute(0, 3, 1, 4, 2, 5).reshape(1, 1, *SHAPE)
    for table in model.encoder.positions.parameters():
        table.data.zero_()
    return volume


def _tail(model, volume, layer: str, sample: TokenSample | None = None) -> CachedTail:
    keep, weight = (None, None) if sample is None else (sample.index[None], sample.weight)
    with torch.no_grad():
        tokens = model.encoder.trunk(volume, keep=keep, weight=weight)
    return CachedTail(model.encoder, model.head, tokens, GRID, layer, sample)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("layer", SALIENCY_LAYERS)
@pytest.mark.parametrize("method", SALIENCY_METHODS)
def test_a_token_of_weight_w_is_w_tokens(model, method: str, layer: str, chunked: bool) -> None:
    sample, source = _copies()
    volume = _with_identical_tokens(model, source)
    with _tail(model, volume, layer) as tail:
        logits, pooled = tail.outputs.detach(), tail.pooled
        full = saliency_maps(tail, TARGETS, method)
    if chunked:
        for module in model.modules():
            if isinstance(module, MLP | SelfAttention):
                module.chunk_tokens = 4
    with _tail(model, volume, layer, sample) as tail:
        torch.testing.assert_close(tail.outputs.detach(), logits, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(tail.pooled, pooled, atol=1e-5)
        fast = saliency_maps(tail, TARGETS, method)
    tissue = sample.tissue.numpy()
    assert full[:, tissue].max() > 0
    np.testing.assert_allclose(fast[:, tissue], full[:, tissue], rtol=0, atol=1e-4 * full.max())
    assert not fast[:, ~tissue].any()


@pytest.mark.parametrize("layer", SALIENCY_LAYERS)
def test_a_sample_of_everything_is_the_plain_way_bit_for_bit(model, layer: str) -> None:
    volume = torch.rand(1, 1, *SHAPE, generator=torch.Generator().manual_seed(1))
    whole = torch.arange(TOKENS)
    sample = TokenSample(whole, whole, torch.ones(GRID, dtype=torch.bool))
    with _tail(model, volume, layer) as plain, _tail(model, volume, layer, sample) as fast:
        assert torch.equal(plain.outputs, fast.outputs)
        np.testing.assert_array_equal(plain.pooled, fast.pooled)
        for method in SALIENCY_METHODS:
            np.testing.assert_array_equal(
                saliency_maps(plain, TARGETS, method), saliency_maps(fast, TARGETS, method)
            )


def test_pooling_counts_weights_in_half_precision_without_overflow() -> None:
    tokens = torch.full((1, 3000, 4), 60.0, dtype=torch.float16)
    weight = torch.ones(3000)
    weight[::10] = 8
    assert (mean_of_tokens(tokens, weight) == 60).all()


@pytest.fixture
def products(monkeypatch) -> list[int]:
    """A CPU on which plain products are preferred, whatever this one is; the sizes they were used for."""
    used: list[int] = []
    real = attention_module._products

    def counted(query, *others):
        used.append(query.shape[2])
        return real(query, *others)

    monkeypatch.setattr(attention_module, "bf16_in_vectors_only", lambda: True)
    monkeypatch.setattr(attention_module, "_products", counted)
    return used


def _tensors(tokens: int, queries: int, dtype=torch.bfloat16, head_dim: int = 64):
    generator = torch.Generator().manual_seed(0)
    sizes = (queries, tokens, tokens)
    return [torch.randn(1, 2, n, head_dim, generator=generator).to(dtype) for n in sizes]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("queries", "head_dim"), [(700, 64), (512, 48), (1, 64), (257, 32)])
def test_plain_products_are_attention_within_rounding(products, queries, head_dim, weighted):
    tensors = _tensors(700, queries, head_dim=head_dim)
    weight = None
    if weighted:
        weight = torch.ones(700)
        weight[::7] = torch.randint(2, 300, (100,), generator=torch.Generator().manual_seed(0))
    exact = attention(*(tensor.float() for tensor in tensors), weight)
    with torch.no_grad():
        ours = attention(*tensors, weight)
        assert products == [queries]
        again = attention(*tensors, weight)
    assert torch.equal(ours, again)
    assert (ours - exact).norm() / exact.norm() < 2**-7  # bf16 has 8 bits


def test_plain_products_are_for_inference_in_bf16_of_many_tokens_alone(products) -> None:
    with torch.no_grad():
        with attention_backend("sdpa"):
            attention(*_tensors(700, 700))
        attention(*_tensors(700, 700, torch.float32))
        attention(*_tensors(40, 40))
    query, key, value = _tensors(700, 700)
    attention(query.requires_grad_(), key, value).sum().backward()
    assert products == []


def test_flash_attn_is_not_used_for_weighted_keys(monkeypatch) -> None:
    monkeypatch.setattr(attention_module, "_flash_attn_runs", lambda query: True)
    monkeypatch.setattr(
        attention_module, "flash_attn_func", lambda *_, **__: pytest.fail("was called")
    )
    tensors = _tensors(40, 40, torch.float32)
    assert attention(*tensors, torch.ones(40)).shape == tensors[0].shape


@pytest.fixture(scope="module")
def demo():
    return load_model("demo", device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def eye() -> Exam:
    return make_exam((0xFA57, 1), diseases=["DME"])


@pytest.mark.parametrize("disease", [None, *DISEASES])
def test_scores_and_maps_stay_close(demo, disease: str | None) -> None:
    exam = make_exam((0xFA57, 2), diseases=[disease] if disease else [])
    full, fast = (analyze(exam, demo, fast=fast) for fast in (False, True))
    changes = [
        abs(ours.probability - exact.probability)
        for ours, exact in zip(fast.scores, full.scores, strict=True)
    ]
    assert np.mean(changes) < 0.02
    assert max(changes) < 0.15  # where the model is undecided
    assert fast.embedding @ full.embedding > 0.995 * np.linalg.norm(
        fast.embedding
    ) * np.linalg.norm(full.embedding)
    if disease and full.result_of(disease).present:
        maps = [analysis.saliency[analysis.index(disease)].ravel() for analysis in (full, fast)]
        assert np.corrcoef(*maps)[0, 1] > 0.9


def test_the_result_says_how_much_was_left_out(demo, eye) -> None:
    (note,) = analyze(eye, demo, fast=True).run_notes
    words = note.split()
    assert words[:2] == ["Fast", "mode:"]
    left_out, every = int(words[2]), int(words[4])
    assert every == 10 * 8 * 8
    assert 0.2 < left_out / every < 0.7
    assert analyze(eye, demo).run_notes == ()


def test_the_same_bits_twice_in_fast_mode(demo, eye) -> None:
    first, second = (analyze(eye, demo, fast=True) for _ in range(2))
    assert first.scores == second.scores
    np.testing.assert_array_equal(first.saliency, second.saliency)
    np.testing.assert_array_equal(first.embedding, second.embedding)


def _nothing_left_out(model, exam: Exam, reason: str) -> None:
    full, fast = (analyze(exam, model, fast=fast) for fast in (False, True))
    assert fast.run_notes == (f"Fast mode left nothing out: {reason}.",)
    assert fast.scores == full.scores
    np.testing.assert_array_equal(fast.saliency, full.saliency)


@pytest.mark.parametrize("kind", ["black", "noise"])
def test_a_volume_without_tissue_is_run_in_full(demo, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (30, 128, 128), np.uint8)
    voxels = noise if kind == "noise" else np.zeros_like(noise)
    reason = "no band of tissue stands out from the background of this volume"
    _nothing_left_out(demo, Exam(OCTVolume(voxels), format="synthetic"), reason)


def test_a_single_bscan_is_run_in_full(demo) -> None:
    single = make_exam((0xFA57, 3), shape=(1, 256, 256))
    _nothing_left_out(demo, single, "a single B-scan is quick as a whole")


def test_of_an_aligned_model_only_the_volume_is_sampled(eye) -> None:
    model = aligned_model((30, 128, 128))
    full, fast = (analyze(eye, model, fast=fast) for fast in (False, True))
    assert fast.run_notes[0].startswith("Fast mode: ")
    np.testing.assert_array_equal(fast.embeddings["IR"], full.embeddings["IR"])
    assert (fast.embeddings["OCT"] != full.embeddings["OCT"]).any()
    assert fast.embeddings["OCT"] @ full.embeddings["OCT"] > 0.99  # of length 1


def test_images_have_no_background(eye) -> None:
    architecture = Architecture(
        48, 2, 2, (3, 16, 16), (1, 4, 4), 96, outputs=0, final_residual=True, planar=True
    )
    model = FeatureEncoder(ModelCard("fundus", "1", architecture)).eval().requires_grad_(False)
    assert model.card.kind == "enface"
    reason = "the model looks at en-face images, which are tissue all over"
    assert analyze(eye, model, fast=True).run_notes == (f"Fast mode left nothing out: {reason}.",)


def test_half_precision_and_chunks_of_tokens(demo, eye) -> None:
    half = load_model("demo", device="cpu", precision="bf16")
    exact = analyze(eye, demo, fast=True)
    for chunk in (None, CHUNK_TOKENS // 4):
        for module in half.modules():
            if isinstance(module, MLP | SelfAttention):
                module.chunk_tokens = chunk
        for layer in SALIENCY_LAYERS:
            ours = analyze(eye, half, layer=layer, fast=True)
            assert ours.run_notes[0] == exact.run_notes[0]  # the sample does not depend on it
            for score, reference in zip(ours.scores, exact.scores, strict=True):
                assert score.probability == pytest.approx(reference.probability, abs=0.02)


def test_the_viewer_can_ask_for_it(eye) -> None:
    assert Analyze(1, eye, "demo").fast is False
    assert Analyze(1, eye, "demo", fast=True).fast is True


def test_the_benchmark_measures_what_it_gains() -> None:
    tiny = {"depth": 2, "embed_dim": 64, "num_heads": 1, "input_shape": (30, 128, 128)}
    report = measure(parts=("fast",), **tiny, precision="fp32", device="cpu")
    (figure,) = report["figures"]
    assert figure["value"] == sorted(report["parts"]["fast"]["ratios"])[1] > 0
    assert figure["allowed"] is None  # of a ViT-L alone
    assert all(0.3 < kept < 0.8 for kept in report["parts"]["fast"]["tokens_kept"])


def test_the_command_line_writes_the_note_beside_the_scores(eye, tmp_path, capsys) -> None:
    np.save(tmp_path / "eye.npy", eye.volume.voxels)
    out = tmp_path / "out"
    assert (
        main(["analyze", str(tmp_path / "eye.npy"), "--model", "demo", "--out", str(out), "--fast"])
        == 0
    )
    (note,) = json.loads((out / "scores.json").read_text())["run"]["notes"]
    assert note.startswith("Fast mode: ")
    assert note in capsys.readouterr().out
