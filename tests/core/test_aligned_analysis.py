"""analyze() with models that see volumes and en-face images together, or only one of them, or without a task."""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import reference_files as files
import reference_models as reference
import torch
from pytorch_grad_cam import GradCAMPlusPlus, LayerCAM
from reference_files import Dims, exact

from octcube_core.analysis import analyze
from octcube_core.checkpoints import load_model
from octcube_core.checkpoints.encoders import volume_encoder
from octcube_core.errors import InputError
from octcube_core.exam import EnFaceImage, Exam, OCTVolume
from octcube_core.models.octcube import OCTCubeEncoder
from octcube_core.preprocess import prepare
from octcube_core.preprocess_image import prepare_image
from octcube_core.results import Analysis
from octcube_core.token_grid import PatchGrid

D = Dims(frames=9, height=32, width=48, enface=48)
FIXTURES = Path(
    os.environ.get(
        "OCTCUBE_UPSTREAM_FIXTURES", Path(__file__).parents[2] / "../shared/fixtures/upstream"
    )
).resolve()
METHODS = {"gradcam++": GradCAMPlusPlus, "layercam": LayerCAM}
MODALITIES = {"ir": ("IR",), "ef": ("FAF", "IR")}
WEIGHTS = {"ir": files.coep_weights(D), "ef": files.coep_weights(D, modalities=2, outputs=2)}


def _picture(shape: tuple[int, int], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


IMAGES = {
    "IR": EnFaceImage(_picture((50, 70), 1), "IR"),
    "FAF": EnFaceImage(_picture((90, 64), 2), "FAF"),
    "CFP": EnFaceImage(_picture((48, 48), 3), "CFP"),
}


def _exam(*modalities: str) -> Exam:
    voxels = np.random.default_rng(0).integers(0, 256, (13, 50, 61), dtype=np.uint8)
    return Exam(OCTVolume(voxels), enface=tuple(IMAGES[name] for name in modalities))


def _load(path: Path, input_shape=None):
    return load_model(path, device="cpu", precision="fp32", input_shape=input_shape)


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, torch.nn.Module]:
    folder = tmp_path_factory.mktemp("models")
    return {
        name: _load(files.save_coep(folder / name, weights), D.shape)
        for name, weights in WEIGHTS.items()
    }


@torch.no_grad()
def _embeddings(name: str, exam: Exam, model) -> dict[str, torch.Tensor]:
    """By the reference's arithmetic, from the inputs that the model is given."""
    w = exact(WEIGHTS[name])
    volume, _ = prepare(exam, model.card)
    embeddings = {"OCT": reference.coep_volume(volume.double(), w, D)}
    for number, modality in enumerate(MODALITIES[name]):
        if modality in exam.modalities:
            image, _ = prepare_image(IMAGES[modality], model.card.alignment.enface)
            place = number if len(MODALITIES[name]) > 1 else None
            embeddings[modality] = reference.coep_image(image.double(), w, D, place)
    return embeddings


CASES = [
    ("ir", ("IR",)),
    ("ir", ("FAF", "IR", "CFP")),
    ("ir", ("FAF",)),
    ("ir", ()),
    ("ef", ("IR", "FAF")),
    ("ef", ("FAF",)),
    ("ef", ("IR",)),
    ("ef", ()),
]


@pytest.mark.parametrize(("name", "images"), CASES)
def test_similarities_values_and_embeddings(models, name: str, images) -> None:
    exam, model = _exam(*images), models[name]
    analysis = analyze(exam, model)
    expected = _embeddings(name, exam, model)

    assert list(analysis.embeddings) == list(expected)
    for modality, embedding in expected.items():
        np.testing.assert_allclose(analysis.embeddings[modality], embedding[0], atol=1e-5)
    np.testing.assert_array_equal(analysis.embedding, analysis.embeddings["OCT"])

    wanted = {
        f"OCT~{modality}": float((expected["OCT"] * expected[modality]).sum())
        for modality in MODALITIES[name]
        if modality in expected
    }
    if name == "ef":
        zero = torch.zeros_like(expected["OCT"])
        parts = [expected.get(modality, zero) for modality in ("OCT", "FAF", "IR")]
        values = reference.coep_values(parts, exact(WEIGHTS[name]))[0]
        wanted |= {"Y1": float(values[0]), "Y2": float(values[1])}
    assert {m.abbreviation: m.value for m in analysis.measurements} == pytest.approx(
        wanted, abs=1e-5
    )
    assert analysis.targets == tuple(wanted)
    assert analysis.scores == ()
    assert analysis.normal_probability is None
    missing = [modality for modality in MODALITIES[name] if modality not in images]
    told = [warning for warning in analysis.warnings if "which the model knows" in warning]
    assert len(told) == bool(missing)
    assert all(modality in told[0] for modality in missing)


class _Plain(torch.nn.Module):
    """A tower as textbooks write it: every token through the last block, their mean, then the scalar."""

    def __init__(self, encoder: OCTCubeEncoder, scalar: Callable[[torch.Tensor], torch.Tensor]):
        super().__init__()
        self.encoder = copy.deepcopy(encoder).requires_grad_(True)
        self.scalar = scalar

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        return self.scalar(self.encoder(seen)[:, 1:].mean(dim=1)).reshape(1, 1)


def _plain_map(plain: _Plain, seen: torch.Tensor, grid, method: str, layer: str) -> np.ndarray:
    """The whole tower forward and backward for one scalar, with pytorch-grad-cam's own hooks."""

    def to_grid(tokens: torch.Tensor) -> torch.Tensor:
        inner = tokens[:, 1:] if tokens.shape[1] > np.prod(grid) else tokens
        return inner.mT.reshape(1, -1, *grid)

    target = getattr(plain.encoder.blocks[-1], layer)
    with METHODS[method](plain, [target], reshape_transform=to_grid) as cam:
        recorded = cam.activations_and_grads
        recorded(seen)[0, 0].backward()
        activation, gradient = recorded.activations[0].numpy(), recorded.gradients[0].numpy()
        return np.maximum(cam.get_cam_image(seen, None, None, activation, gradient, False)[0], 0)


def _assert_maps_are_those_of_pytorch_grad_cam(
    exam: Exam, model, analysis: Analysis, method: str, layer: str
) -> None:
    known = [name for name in model.modalities if name in exam.modalities]
    volume, grid = prepare(exam, model.card)
    inputs = {"OCT": (model.oct_tower.encoder, volume, grid.shape)}
    project = {"OCT": model.oct_tower.project}
    for name in known:
        image, patches = prepare_image(exam.image(name), model.card.alignment.enface)
        inputs[name] = (model.enface_tower.encoder, image, patches.shape)
        number = model.modalities.index(name)
        project[name] = lambda pooled, number=number: model.enface_tower.project(pooled, number)
    with torch.no_grad():
        fixed = {name: project[name](inputs[name][0].pooled(inputs[name][1])) for name in inputs}

    def scalar(target: str, tower: str) -> Callable[[torch.Tensor], torch.Tensor] | None:
        if target.startswith("OCT~"):
            pair = target.split("~")
            if tower not in pair:
                return None
            (other,) = [name for name in pair if name != tower]
            return lambda pooled: project[tower](pooled) @ fixed[other][0]

        def value(pooled: torch.Tensor) -> torch.Tensor:
            given = {**fixed, tower: project[tower](pooled)}
            parts = [given.get(name) for name in ("OCT", *model.modalities)]
            return model.predict(*parts)[0, int(target[1:]) - 1]

        return value

    compared = 0
    for tower, (encoder, seen, shape) in inputs.items():
        found = (
            (analysis.saliency, analysis.saliency_peak)
            if tower == "OCT"
            else (analysis.enface[tower].maps, analysis.enface[tower].peaks)
        )
        for target, scaled, peak in zip(analysis.targets, *found, strict=True):
            assert scaled.shape == tuple(shape)
            explained = scalar(target, tower)
            if explained is None:
                assert peak == 0.0
                assert not scaled.any()
                continue
            plain = _plain_map(_Plain(encoder, explained), seen, shape, method, layer)
            np.testing.assert_allclose(scaled * peak, plain, rtol=0, atol=1e-5)
            np.testing.assert_allclose(scaled * peak, plain, rtol=0, atol=1e-4 * plain.max())
            assert scaled.max() == (1.0 if plain.any() else 0.0)
            compared += bool(plain.any())
    assert compared  # there was something to compare


@pytest.mark.parametrize(
    ("method", "layer"), [("gradcam++", "norm1"), ("gradcam++", "norm2"), ("layercam", "norm1")]
)
@pytest.mark.parametrize(
    ("name", "images"), [("ir", ("IR",)), ("ef", ("IR", "FAF")), ("ef", ("FAF",)), ("ef", ())]
)
def test_maps_of_every_target_on_volume_and_images(models, name, images, method, layer) -> None:
    exam, model = _exam(*images), models[name]
    analysis = analyze(exam, model, saliency=method, layer=layer)
    assert list(analysis.enface) == [m for m in MODALITIES[name] if m in images]
    assert analysis.layer == layer
    _assert_maps_are_those_of_pytorch_grad_cam(exam, model, analysis, method, layer)


@pytest.mark.skipif(not FIXTURES.is_dir(), reason=f"no parity fixtures at {FIXTURES}")
@pytest.mark.parametrize("case", ["coep_ir", "coep_ef"])
def test_maps_of_the_released_layouts(case: str) -> None:
    (path,) = (FIXTURES / case).glob("checkpoint.*")
    shape = np.load(FIXTURES / case / "volume.npy", mmap_mode="r").shape[2:]
    exam, model = _exam("IR", "FAF"), _load(path, shape)
    analysis = analyze(exam, model)
    assert analysis.layer == "norm2"
    _assert_maps_are_those_of_pytorch_grad_cam(exam, model, analysis, "gradcam++", "norm2")


def test_patches_know_where_they_lie_in_the_picture(models) -> None:
    analysis = analyze(_exam("IR", "FAF"), models["ef"])
    for modality in ("IR", "FAF"):
        grid = analysis.enface[modality].grid
        assert isinstance(grid, PatchGrid)
        assert grid.image_shape == IMAGES[modality].shape
        assert analysis.enface[modality].maps.shape == (4, 3, 3)


def test_the_same_bits_twice(models) -> None:
    exam = _exam("IR", "FAF")
    first, second = (analyze(exam, models["ef"]) for _ in range(2))
    np.testing.assert_array_equal(first.saliency, second.saliency)
    np.testing.assert_array_equal(first.enface["IR"].maps, second.enface["IR"].maps)
    assert first.measurements == second.measurements


def test_progress_rises_to_one_over_all_towers(models) -> None:
    reports: list[tuple[str, float]] = []
    analyze(_exam("IR", "FAF"), models["ef"], on_progress=lambda *report: reports.append(report))
    fractions = [fraction for _, fraction in reports]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)
    assert {stage for stage, _ in reports} >= {"Explaining OCT~IR", "Explaining Y2"}


def test_a_single_bscan_is_one_layer_of_cubes(models) -> None:
    exam = dataclasses.replace(_exam("IR"), volume=OCTVolume(_exam().volume.voxels[:1]))
    analysis = analyze(exam, models["ir"])
    assert analysis.saliency.shape == (1, 1, 2, 3)
    assert any("single B-scan" in warning for warning in analysis.warnings)


def _without_a_task(tmp_path: Path) -> dict[str, torch.nn.Module]:
    mae = _load(files.save(tmp_path / "mae", files.mae_weights(dataclasses.replace(D, finer=2))))
    retfound = _load(files.save(tmp_path / "retfound", files.retfound_weights(D)))
    return {"mae": mae, "encoder": volume_encoder(mae).eval(), "retfound": retfound}


@pytest.mark.parametrize("name", ["mae", "encoder", "retfound"])
def test_a_model_without_a_task_embeds_and_explains_nothing(tmp_path: Path, name: str) -> None:
    exam, model = _exam("IR"), _without_a_task(tmp_path)[name]
    analysis = analyze(exam, model)
    if name == "retfound":
        image, _ = prepare_image(IMAGES["IR"], model.card.architecture)
        w = exact(files.retfound_weights(D))
        expected = reference.retfound_features(image.double(), w, D)
    else:
        w = exact(files.mae_weights(dataclasses.replace(D, finer=2)))
        volume, _ = prepare(exam, model.card)
        d = dataclasses.replace(D, finer=2)
        expected = reference.normed(reference.volume_features(volume.double(), w, d), w, "norm")
    np.testing.assert_allclose(analysis.embedding, expected[0], atol=1e-5)
    assert list(analysis.embeddings) == ["IR" if name == "retfound" else "OCT"]
    assert analysis.targets == ()
    assert analysis.top_target is None
    assert analysis.saliency.shape[0] == 0
    assert all(len(found.maps) == 0 for found in analysis.enface.values())
    assert analysis.grid.volume_shape == exam.volume.shape
    with pytest.raises(InputError, match="scores nothing"):
        analysis.index("AMD")


def test_an_image_encoder_prefers_a_colour_photograph(tmp_path: Path) -> None:
    model = _without_a_task(tmp_path)["retfound"]
    for images, chosen in ((("FAF", "IR", "CFP"), "CFP"), (("FAF", "IR"), "IR"), (("FAF",), "FAF")):
        assert list(analyze(_exam(*images), model).embeddings) == [chosen]


def test_an_image_encoder_needs_an_image(tmp_path: Path) -> None:
    model = _without_a_task(tmp_path)["retfound"]
    with pytest.raises(InputError, match=r"looks at en-face images, and this exam has none"):
        analyze(_exam(), model)
