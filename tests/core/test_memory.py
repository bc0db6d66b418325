"""When memory runs out, the analysis is made with less of it, and its result says so."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from aligned import aligned_model

from octcube_core import analysis as analysis_module
from octcube_core import memory, saliency
from octcube_core.analysis import analyze
from octcube_core.checkpoints import load_model, save_checkpoint, zoo
from octcube_core.errors import AnalysisCancelled, CheckpointError, NotEnoughMemory
from octcube_core.exam import EnFaceImage, Exam, OCTVolume
from octcube_core.memory import Plan, is_out_of_memory, plan_of, smaller_plans
from octcube_core.models.blocks import MLP
from octcube_core.models.octcube import OCTCubeEncoder
from octcube_core.models.random_weights import random_model

SHAPE = (12, 32, 48)
CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)

ERRORS = {
    "CUDA": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
    "Python": MemoryError,
    "CPU allocator": lambda: RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 40000000000000 bytes. Error code 12 (Cannot allocate memory)"
    ),
    "MPS": lambda: RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)."),
    "mmap": lambda: RuntimeError(
        "unable to mmap 1213680987 bytes from file <model.pth>: Cannot allocate memory (12)"
    ),
}
STAGES = {
    "trunk": (MLP, "forward"),  # the tail needs the mean alone
    "tail": (MLP, "mean"),
    "maps": (saliency.CachedTail, "_weighted"),
}


@pytest.fixture
def model():
    return random_model(3, 64, 2, SHAPE)


@pytest.fixture(scope="module")
def exam() -> Exam:
    random = np.random.default_rng(0)
    voxels = random.integers(0, 256, (19, 50, 61), dtype=np.uint8)
    image = EnFaceImage(random.integers(0, 256, (70, 60), dtype=np.uint8), "IR")
    return Exam(OCTVolume(voxels), enface=(image,), format="synthetic")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch) -> None:
    monkeypatch.setattr(memory, "CHUNK_TOKENS", 5)


@pytest.fixture
def starve(monkeypatch, model) -> Callable[..., list[Plan]]:
    """Lets memory run out at a stage until the model's plan fits; gives the plans that did not."""

    def make(stage: str, fits: Callable[[Plan], bool], error=MemoryError) -> list[Plan]:
        owner, name = STAGES[stage]
        original, failed = getattr(owner, name), []

        def starved(*arguments, **keywords):
            if not fits(plan_of(model)):
                failed.append(plan_of(model))
                raise error()
            return original(*arguments, **keywords)

        monkeypatch.setattr(owner, name, starved)
        return failed

    return make


def _chunked(model):
    memory.remember(model, plan_of(model), dataclasses.replace(plan_of(model), chunked=True))
    return model


def _assert_same_numbers(ours, plain) -> None:
    def close(one, other, tolerance: float = 1e-6) -> None:
        largest = np.abs(other).max(initial=0)
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * largest)

    close([s.probability for s in ours.scores], [s.probability for s in plain.scores])
    close([m.value for m in ours.measurements], [m.value for m in plain.measurements])
    close(ours.embedding, plain.embedding)
    # Sums over channels that cancel: their rounding is that of the terms.
    close(ours.saliency_peak, plain.saliency_peak, 1e-5)
    close(ours.saliency, plain.saliency, 1e-5)
    for modality, image in plain.enface.items():
        close(ours.enface[modality].maps, image.maps, 1e-5)


@pytest.mark.parametrize("layer", ["norm1", "norm2"])
@pytest.mark.parametrize("kind", ["released", "final residual", "aligned"])
def test_chunks_of_tokens_change_no_number(exam, kind: str, layer: str) -> None:
    plain = (
        aligned_model(SHAPE)
        if kind == "aligned"
        else random_model(3, 64, 2, SHAPE, final_residual=kind != "released")
    )
    before = analyze(exam, plain, layer=layer, saliency="hirescam")
    assert before.saliency_peak.max() > 0
    _assert_same_numbers(analyze(exam, _chunked(plain), layer=layer, saliency="hirescam"), before)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("stage", STAGES)
def test_the_second_try_is_in_chunks(exam, model, starve, stage: str, error: str) -> None:
    plain = analyze(exam, model)
    assert plain.run_notes == ()
    failed = starve(stage, lambda plan: plan.chunked, ERRORS[error])
    analysis = analyze(exam, model)
    assert len(failed) == 1
    _assert_same_numbers(analysis, plain)
    assert analysis.run_notes == ("Memory ran out, so the model ran in chunks of tokens.",)
    assert (analysis.device, analysis.precision) == ("CPU", "fp32")


@pytest.mark.parametrize("stage", STAGES)
def test_then_the_precision_is_lowered(exam, model, starve, stage: str) -> None:
    plain = analyze(exam, model)
    failed = starve(stage, lambda plan: plan.dtype == torch.bfloat16)
    analysis = analyze(exam, model)
    assert [plan.chunked for plan in failed] == [False, True]
    assert analysis.precision == "bf16"
    assert analysis.run_notes == (
        "Memory ran out, so the model ran in chunks of tokens and in bf16 instead of fp32.",
    )
    for ours, exact in zip(analysis.scores, plain.scores, strict=True):
        assert ours.probability == pytest.approx(exact.probability, abs=0.02)


def test_the_next_exam_does_not_run_out_of_memory_first_but_says_the_same(
    exam, model, starve
) -> None:
    failed = starve("tail", lambda plan: plan.chunked)
    first = analyze(exam, model)
    again = analyze(exam, model)
    assert len(failed) == 1
    assert again.run_notes == first.run_notes
    np.testing.assert_array_equal(again.saliency, first.saliency)


def test_a_model_brought_back_by_hand_is_no_longer_said_to_be_elsewhere(
    exam, model, starve
) -> None:
    scarce = True
    starve("trunk", lambda plan: not scarce or plan.dtype == torch.bfloat16)
    assert "bf16" in analyze(exam, model).run_notes[0]
    scarce = False
    note = "Memory ran out, so the model ran in chunks of tokens."
    assert analyze(exam, model.float()).run_notes == (note,)


@pytest.mark.parametrize("stage", STAGES)
def test_where_nothing_fits_one_sentence_says_how_much_is_needed(
    exam, model, starve, stage: str
) -> None:
    failed = starve(stage, lambda plan: False)
    with pytest.raises(NotEnoughMemory, match=r"by Random weights needs about 0\.5 GB; close "):
        analyze(exam, model)
    assert [precision.dtype for precision in failed] == [torch.float32] * 2 + [torch.bfloat16]


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_of_a_failed_try_is_in_memory_at_the_next(
    exam, model, starve, monkeypatch, stage: str
) -> None:
    held: list[weakref.ref] = []
    original = OCTCubeEncoder.embed

    def embed(self, *arguments, **keywords):
        assert not [reference for reference in held if reference() is not None]
        tokens = original(self, *arguments, **keywords)
        held.append(weakref.ref(tokens))
        return tokens

    trunk = OCTCubeEncoder.trunk

    def watched(self, *arguments, **keywords):
        tokens = trunk(self, *arguments, **keywords)
        held.append(weakref.ref(tokens))
        return tokens

    monkeypatch.setattr(OCTCubeEncoder, "embed", embed)
    monkeypatch.setattr(OCTCubeEncoder, "trunk", watched)
    failed = starve(stage, lambda plan: plan.dtype == torch.bfloat16)
    analyze(exam, model)
    assert len(failed) == 2
    assert len(held) >= 3
    assert not [reference for reference in held if reference() is not None]


def test_progress_never_runs_backwards_and_says_that_it_tries_again(exam, model, starve) -> None:
    starve("maps", lambda plan: plan.chunked)
    reports: list[tuple[str, float]] = []
    analysis = analyze(exam, model, on_progress=lambda *report: reports.append(report))
    fractions = [fraction for _, fraction in reports]
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1.0)
    stages = [stage for stage, _ in reports]
    assert stages.count("Trying again with less memory") == 1
    again = stages.index("Trying again with less memory")
    assert stages[again + 1] == "Running the network"
    assert fractions[again] < 1.0
    timings = analysis.timings_s
    assert timings["out of memory"] > 0
    assert timings["total"] == pytest.approx(sum(timings.values()) - timings["total"])


@pytest.mark.parametrize(
    "error",
    [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("x"), OSError(2, "x")],
)
def test_other_errors_go_through_and_leave_the_plan(exam, model, starve, error) -> None:
    def fail() -> Exception:
        return error

    failed = starve("tail", lambda plan: False, fail)
    with pytest.raises(type(error)) as caught:
        analyze(exam, model)
    assert caught.value is error
    assert len(failed) == 1
    assert plan_of(model) == Plan(CPU, torch.float32)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, AnalysisCancelled])
def test_stopping_is_not_trying_again(exam, model, starve, stop) -> None:
    failed = starve("tail", lambda plan: plan.chunked)

    def on_progress(stage: str, fraction: float) -> None:
        if failed and stage.startswith("Explaining"):
            raise stop("stop")

    with pytest.raises(stop):
        analyze(exam, model, on_progress=on_progress)
    assert len(failed) == 1
    assert analyze(exam, model).run_notes != ()


def test_an_exam_that_does_not_fit_while_it_is_prepared_costs_the_model_nothing(
    exam, model, monkeypatch
) -> None:
    def prepare(*_):
        raise MemoryError

    monkeypatch.setattr(analysis_module, "exam_towers", prepare)
    with pytest.raises(NotEnoughMemory, match="preparing the exam of 19 x 50 x 61 voxels"):
        analyze(exam, model)
    assert plan_of(model) == Plan(CPU, torch.float32)


def test_the_order_of_plans_on_a_gpu(monkeypatch) -> None:
    monkeypatch.setattr(memory, "computes_in_bf16", lambda device: True)
    monkeypatch.setattr(memory, "choose_precision", lambda name, device: torch.bfloat16)
    fp32, bf16, fp16 = torch.float32, torch.bfloat16, torch.float16
    assert list(smaller_plans(Plan(GPU, fp32))) == [
        Plan(GPU, fp32, chunked=True),
        Plan(GPU, bf16, chunked=True),
        Plan(CPU, bf16, chunked=True),
    ]
    assert list(smaller_plans(Plan(GPU, fp16, chunked=True))) == [Plan(CPU, bf16, chunked=True)]
    monkeypatch.setattr(memory, "choose_precision", lambda name, device: fp32)
    monkeypatch.setattr(memory, "computes_in_bf16", lambda device: device == GPU)
    assert list(smaller_plans(Plan(GPU, fp32, chunked=True))) == [
        Plan(GPU, bf16, chunked=True),
        Plan(CPU, fp32, chunked=True, rounded=True),
        Plan(CPU, bf16, chunked=True),
    ]
    monkeypatch.setattr(memory, "computes_in_bf16", lambda device: False)
    assert list(smaller_plans(Plan(GPU, fp32, chunked=True))) == [
        Plan(CPU, fp32, chunked=True),
        Plan(CPU, bf16, chunked=True),
    ]


@pytest.fixture
def file(tmp_path: Path, model) -> Path:
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, model)
    return path


@pytest.fixture
def full_gpu(monkeypatch) -> None:
    """A GPU on which there is room for nothing."""
    original = torch.nn.Module.to

    def to(self, device, *arguments, **keywords):
        if torch.device(device).type == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return original(self, device, *arguments, **keywords)

    monkeypatch.setattr(torch.nn.Module, "to", to)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tiny GPU")
    monkeypatch.setattr(zoo, "choose_device", lambda name: GPU)
    monkeypatch.setattr(memory, "computes_in_bf16", lambda device: False)


def test_a_model_that_finds_no_room_on_the_gpu_is_loaded_on_the_cpu(exam, file, full_gpu) -> None:
    model = load_model(file, precision="fp32")
    assert plan_of(model) == Plan(CPU, torch.float32, chunked=True)
    analysis = analyze(exam, model)
    assert analysis.device == "CPU"
    assert analysis.run_notes == (
        "Memory ran out on Tiny GPU, so the model ran in chunks of tokens and on the CPU.",
    )


def test_a_model_that_has_been_rounded_on_the_way_says_so(exam, file, monkeypatch) -> None:
    model = load_model(file, device="cpu", precision="fp32")
    rounded = Plan(CPU, torch.float32, chunked=True, rounded=True)
    memory.remember(model, Plan(GPU, torch.float32), rounded)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tiny GPU")
    assert analyze(exam, model).run_notes == (
        "Memory ran out on Tiny GPU, so the model ran in chunks of tokens, "
        "in fp32 with weights rounded to bf16 and on the CPU.",
    )


def test_a_file_too_large_in_fp32_is_loaded_in_bf16(exam, file, monkeypatch) -> None:
    original = zoo.load_checkpoint

    def load(path, dtype, **_):
        if dtype == torch.float32:
            raise MemoryError
        return original(path, dtype=dtype)

    monkeypatch.setattr(zoo, "load_checkpoint", load)
    analysis = analyze(exam, load_model(file, device="cpu", precision="fp32"))
    assert analysis.precision == "bf16"
    assert "in bf16 instead of fp32" in analysis.run_notes[0]
    assert analyze(exam, load_model(file, device="cpu", precision="bf16")).run_notes == ()


@pytest.mark.parametrize("error", [MemoryError(), OSError(12, "Cannot allocate memory")])
def test_a_file_too_large_for_any_plan_is_not_called_damaged(tmp_path, monkeypatch, error) -> None:
    path = tmp_path / "released.pth"
    torch.save({"model": {"a": torch.zeros(1)}}, path)

    def load(*_, **__):
        raise error

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(NotEnoughMemory, match=r"while loading released\.pth"):
        load_model(path, device="cpu", precision="fp32")


def test_a_damaged_file_is_still_called_damaged(tmp_path) -> None:
    path = tmp_path / "released.pth"
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(CheckpointError, match="damaged"):
        load_model(path, device="cpu")


def test_what_pytorch_itself_raises_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**14)
    assert is_out_of_memory(caught.value)
    with pytest.raises(MemoryError) as caught:
        np.empty(10**15)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(RuntimeError("could not create a primitive"))  # oneDNN's words for it
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_a_model_left_between_two_precisions_is_made_whole_for_the_next_exam(
    exam, model, monkeypatch
) -> None:
    moved = type(model).to

    def half_way(self, *_, **__):
        moved(self.encoder.blocks[0], torch.bfloat16)
        self.encoder.cls_token.data = self.encoder.cls_token.data.bfloat16()
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(MLP, "forward", lambda *_: (_ for _ in ()).throw(MemoryError()))
        patched.setattr(type(model), "to", half_way)
        with pytest.raises(NotEnoughMemory):
            analyze(exam, model)
    analyze(exam, model)
    assert len({parameter.dtype for parameter in model.parameters()}) == 1
