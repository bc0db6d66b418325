"""Why two eyes are alike: the similarity is the cosine of their embeddings, and the maps are its gradients' own."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from aligned import aligned_model

from octcube_core.checkpoints import load_model
from octcube_core.embedding import embed
from octcube_core.errors import InputError
from octcube_core.exam import EnFaceImage, Exam, OCTVolume
from octcube_core.preprocess import prepare
from octcube_core.preprocess_image import prepare_image
from octcube_core.similarity_saliency import SIMILARITY, explain_similarity

SHAPE = (9, 48, 48)
PAIRS = [("OCT", "OCT"), ("OCT", "IR"), ("IR", "OCT"), ("IR", "IR")]


def exam(seed: int, *modalities: str) -> Exam:
    random = np.random.default_rng(seed)
    voxels = random.integers(0, 256, SHAPE, dtype=np.uint8)
    images = tuple(
        EnFaceImage(random.integers(0, 256, (64, 64), dtype=np.uint8), name) for name in modalities
    )
    return Exam(OCTVolume(voxels), enface=images)


@pytest.fixture(scope="module")
def model():
    """With weights that are no initial values, and the formula that is the simplest to compute again."""
    made = aligned_model(SHAPE)
    torch.manual_seed(1)
    for parameter in made.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    made.card = dataclasses.replace(made.card, saliency="hirescam", saliency_layer="norm1")
    return made


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))


@pytest.mark.parametrize(("by", "to"), PAIRS)
def test_the_similarity_is_that_of_the_embeddings(model, by, to):
    one, other = exam(1, "IR"), exam(2, "IR")
    vectors = embed(one, model).vectors[by], embed(other, model).vectors[to]
    results = explain_similarity(one, by, other, to, model)
    for result, vector, modality in zip(results, vectors, (by, to), strict=True):
        assert result.targets == (SIMILARITY,)
        assert result.result_of(SIMILARITY).value == pytest.approx(cosine(*vectors), abs=1e-5)
        np.testing.assert_allclose(result.embedding, vector, atol=1e-5)
        assert list(result.embeddings) == [modality]


@pytest.mark.parametrize("layer", ["norm1", "norm2"])
@pytest.mark.parametrize(("by", "to"), PAIRS)
def test_maps_are_activation_times_gradient_through_the_whole_model(model, by, to, layer):
    # HiResCAM (arXiv:2011.08891) through a plain forward pass with a hook, one side after the other.
    model.card = dataclasses.replace(model.card, saliency_layer=layer)
    shown = exam(1, "IR"), exam(2, "IR")
    results = explain_similarity(shown[0], by, shown[1], to, model)
    sides = list(zip(shown, (by, to), strict=True))
    for (own, modality), (other, others), result in zip(sides, sides[::-1], results, strict=True):
        fixed = torch.from_numpy(embed(other, model).vectors[others])
        tower = model.oct_tower if modality == "OCT" else model.enface_tower
        held = {}

        def keep(module, inputs, output, held=held):
            held["activation"] = output.detach().requires_grad_()
            return held["activation"]

        handle = getattr(tower.encoder.last_block, layer).register_forward_hook(keep)
        with torch.enable_grad():
            if modality == "OCT":
                out = model.embed_volume(prepare(own, model.card)[0])
            else:
                image = own.image("IR")
                out = model.embed_enface(prepare_image(image, model.card.alignment.enface)[0], "IR")
            scalar = F.cosine_similarity(out[0], fixed, dim=0)
        handle.remove()
        (gradient,) = torch.autograd.grad(scalar, held["activation"])
        product = (held["activation"].detach() * gradient).sum(-1).flatten()
        tokens = 27 if modality == "OCT" else 16
        wanted = product[-tokens:].clamp(min=0).numpy()  # the class token comes first
        assert wanted.max() > 0
        found = result.saliency if modality == "OCT" else result.enface["IR"].maps
        np.testing.assert_allclose(found.ravel(), wanted / wanted.max(), atol=1e-3)
        assert result.saliency_peak[0] == pytest.approx(wanted.max(), rel=1e-3)
        if modality != "OCT":
            assert not result.saliency.any()


@pytest.mark.parametrize("name", ["demo", "demo-mae", "demo-mae-enface", "demo-coep"])
def test_every_kind_of_model(name):
    model = load_model(name, device="cpu", precision="fp32")
    one, other = exam(1, "IR", "FAF"), exam(2, "IR", "FAF")
    (by, first), (_, second) = embed(one, model).of(None), embed(other, model).of(None)
    for result in explain_similarity(one, by, other, by, model):
        assert result.result_of(SIMILARITY).value == pytest.approx(cosine(first, second), abs=1e-4)
        maps = result.saliency if by == "OCT" else result.enface[by].maps
        assert np.isfinite(maps).all()
        assert maps.max() in (0, 1)


def test_an_exam_is_wholly_like_itself(model):
    first, second = explain_similarity(exam(1), "OCT", exam(1), "OCT", model)
    assert first.result_of(SIMILARITY).value == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(first.saliency, second.saliency)


@pytest.mark.parametrize(("by", "to"), [("IR", "OCT"), ("OCT", "IR"), ("CFP", "OCT")])
def test_what_is_missing_is_one_sentence(model, by, to):
    with pytest.raises(InputError, match=r"aligned sees no (IR|CFP) in this exam\.") as caught:
        explain_similarity(exam(1), by, exam(2), to, model)
    assert "\n" not in str(caught.value)
