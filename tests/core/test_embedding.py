"""Embeddings without scores and saliency are those of a whole analysis, alone and many at once; and whose they are."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import reference_files as files
import torch
from aligned import aligned_model
from reference_files import Dims

import octcube_core as oc
from octcube_core.checkpoints import load_model
from octcube_core.embedding import embed, embed_inputs, embedding_inputs, model_identity
from octcube_core.errors import InputError
from octcube_core.exam import EnFaceImage, Exam, OCTVolume
from octcube_core.models.family import Model
from octcube_core.models.mae import MaskedAutoencoder
from octcube_core.models.octcube import FeatureEncoder, OCTCubeClassifier

D = Dims(frames=9, height=32, width=48, enface=48)
CPU = {"device": "cpu", "precision": "fp32"}


def exam(seed: int, *modalities: str) -> Exam:
    random = np.random.default_rng(seed)
    voxels = random.integers(0, 256, (9, 48, 48), dtype=np.uint8)
    images = tuple(
        EnFaceImage(random.integers(0, 256, (50, 60), dtype=np.uint8), name) for name in modalities
    )
    return Exam(OCTVolume(voxels), enface=images)


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Model]:
    folder = tmp_path_factory.mktemp("models")
    weights = files.coep_weights(D, modalities=2, outputs=2)
    return {
        "coep": load_model(files.save_coep(folder / "coep", weights), input_shape=D.shape, **CPU),
        "aligned": aligned_model((9, 32, 48)),
        **{name: load_model(name, **CPU) for name in ("demo", "demo-mae", "demo-mae-enface")},
        "enface": FeatureEncoder(load_model("demo-mae-enface", **CPU).card).eval(),
    }


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("coep", None),
        ("aligned", None),
        ("demo", OCTCubeClassifier),
        ("demo-mae", MaskedAutoencoder),
        ("demo-mae-enface", MaskedAutoencoder),
        ("enface", FeatureEncoder),
    ],
)
def test_the_same_vectors_as_a_whole_analysis(models, name, kind):
    model = models[name]
    assert kind is None or isinstance(model, kind)
    for given in (("IR", "FAF"), ("FAF", "IR", "IR"), ("CFP", "IR")):
        shown = exam(1, *given)
        wanted = oc.analyze(shown, model).embeddings
        found = embed(shown, model)
        assert found.vectors.keys() == wanted.keys()
        for modality, vector in found.vectors.items():
            np.testing.assert_allclose(vector, wanted[modality], atol=2e-5)
            assert vector.shape == (found.model.features,)
            assert np.ptp(vector) > 0


@pytest.mark.parametrize("name", ["coep", "demo", "demo-mae"])
def test_many_at_once_are_as_each_alone(models, name):
    model = models[name]
    shown = [exam(1, "IR"), exam(2), exam(3, "FAF", "IR"), exam(4, "FAF")]
    together = embed_inputs(model, [embedding_inputs(each, model.card) for each in shown])
    for each, vectors in zip(shown, together, strict=True):
        alone = embed(each, model).vectors
        assert list(vectors) == list(alone)
        for modality in alone:
            np.testing.assert_allclose(vectors[modality], alone[modality], atol=2e-5)
    assert not np.allclose(together[0]["OCT"], together[1]["OCT"], atol=1e-3)
    assert embed_inputs(model, []) == []


def test_what_a_model_cannot_see_or_say_is_one_sentence(models):
    with pytest.raises(InputError, match="images, and this exam has none"):
        embed(exam(1), models["enface"])
    broken = copy.deepcopy(models["coep"])
    for parameter in broken.parameters():
        parameter.fill_(torch.inf)
    with pytest.raises(InputError, match="not finite"):
        embed(exam(1), broken)


def test_a_model_is_the_same_one_in_any_precision_and_by_any_name():
    whole = model_identity(load_model("demo-coep", **CPU), "demo-coep")
    half = model_identity(load_model("demo-coep", device="cpu", precision="bf16"))
    assert whole.hash == half.hash
    assert (whole.source, half.source) == ("demo-coep", "")
    assert model_identity(load_model("demo-mae", **CPU)).hash != whole.hash
    assert whole.features == len(embed(exam(1), load_model("demo-coep", **CPU)).vectors["OCT"])


def test_where_a_model_came_from_is_learnt_late_and_tells_no_folder(tmp_path):
    model = load_model("demo-mae", **CPU)
    assert model_identity(model).source == ""
    assert model_identity(model, str(tmp_path / "Doctor Gnu" / "mine.safetensors")).source == (
        "mine.safetensors"
    )
    assert model_identity(model).source == "mine.safetensors"


def test_other_weights_are_another_model(models):
    model = copy.deepcopy(models["coep"])
    first = model_identity(model)
    assert first.hash == model_identity(models["coep"]).hash
    trained = copy.deepcopy(model)  # with what was noted on it
    with torch.no_grad():
        next(trained.parameters()).add_(1.0)
    assert model_identity(trained).hash != first.hash
    with torch.no_grad():  # a training step
        next(model.parameters()).mul_(1.5)
    second = model_identity(model)
    assert second.hash != first.hash
    model.load_state_dict(models["coep"].state_dict())
    assert model_identity(model).hash == first.hash
    assert model_identity(model.to(torch.bfloat16)).hash == first.hash
