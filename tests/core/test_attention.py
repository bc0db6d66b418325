"""The one attention function: its choice of backend, and chunks of tokens that change no number."""

from __future__ import annotations

import math

import pytest
import torch

from octcube_core.errors import InputError
from octcube_core.models import attention as module
from octcube_core.models.attention import ATTENTION_BACKENDS, attention, attention_backend
from octcube_core.models.blocks import MLP, SelfAttention


def _tensors(tokens: int = 7) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 3, tokens, 8, generator=generator) for _ in range(3)]


def _by_definition(query, key, value) -> torch.Tensor:
    weights = (query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])).softmax(dim=-1)
    return weights @ value


@pytest.fixture
def flash(monkeypatch) -> list[dict]:
    """A stand-in for the flash-attn package that runs on the CPU; the keywords of its calls."""
    calls: list[dict] = []

    def flash_attn_func(query, key, value, **keywords):
        calls.append(keywords)
        tokens_second = [tensor.transpose(1, 2) for tensor in (query, key, value)]
        return _by_definition(*tokens_second).transpose(1, 2)

    monkeypatch.setattr(module, "flash_attn_func", flash_attn_func)
    monkeypatch.setattr(module, "_flash_attn_runs", lambda query: True)
    return calls


@pytest.mark.parametrize("backend", ["auto", "sdpa"])
def test_it_is_softmax_attention(backend: str) -> None:
    with attention_backend(backend):
        torch.testing.assert_close(attention(*_tensors()), _by_definition(*_tensors()))


def test_auto_takes_flash_attn_where_it_runs_and_sdpa_does_not(flash) -> None:
    torch.testing.assert_close(attention(*_tensors()), _by_definition(*_tensors()))
    assert len(flash) == 1
    with attention_backend("sdpa"):
        attention(*_tensors())
    assert len(flash) == 1


def test_flash_attn_is_deterministic_where_pytorch_is_asked_to_be(flash) -> None:
    with attention_backend("flash-attn"):
        attention(*_tensors())
        torch.use_deterministic_algorithms(True)
        try:
            attention(*_tensors())
        finally:
            torch.use_deterministic_algorithms(False)
    assert [call["deterministic"] for call in flash] == [False, True]


def test_flash_attn_does_not_run_on_what_it_cannot_compute(monkeypatch) -> None:
    monkeypatch.setattr(module, "flash_attn_func", lambda *_: pytest.fail("was called"))
    attention(*_tensors())  # auto: fp32 on the CPU
    with attention_backend("flash-attn"), pytest.raises(InputError, match="needs bf16 or fp16"):
        attention(*_tensors())


def test_cudnn_is_asked_of_pytorch_and_its_refusal_explained(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with attention_backend("cudnn"), pytest.raises(InputError, match="cuDNN's attention needs"):
        attention(*_tensors())
    assert torch.backends.cuda.math_sdp_enabled()  # PyTorch's own choice is as before


def test_a_backend_that_is_not_there_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(module, "flash_attn_func", None)
    for name, message in [
        ("flash-attn", "not installed"),
        ("cudnn", "needs a CUDA GPU"),
        ("magic", f"'magic'; known are {', '.join(ATTENTION_BACKENDS)}"),
    ]:
        with pytest.raises(InputError, match=message), attention_backend(name):
            pytest.fail("was let in")


def test_the_former_choice_comes_back_after_an_error(flash) -> None:
    with pytest.raises(KeyError), attention_backend("sdpa"):
        raise KeyError
    attention(*_tensors())
    assert len(flash) == 1


@pytest.mark.parametrize("tokens", [7, 12, 1])
@pytest.mark.parametrize("part", ["attention", "mlp", "mean"])
def test_chunks_of_tokens_change_no_number_and_no_gradient(part: str, tokens: int) -> None:
    torch.manual_seed(0)
    layer = SelfAttention(24, 3) if part == "attention" else MLP(24, 96)
    function = layer.mean if part == "mean" else layer
    x = torch.randn(2, tokens, 24, requires_grad=True)
    seen: list[int] = []
    if part != "attention":
        layer.fc1.register_forward_hook(lambda _m, _i, output: seen.append(output.shape[1]))

    def run() -> list[torch.Tensor]:
        output = function(x)
        gradients = [
            torch.autograd.grad(output[..., channel].sum(), x, retain_graph=True)[0]
            for channel in (0, 5)
        ]
        return [output, *gradients]

    whole = run()
    layer.chunk_tokens = 3
    seen.clear()
    for ours, plain in zip(run(), whole, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-6, atol=1e-6)
    assert all(size <= 3 for size in seen)
