"""The masked autoencoder: what a part of the hidden tokens, slices, images and bytes change, and what they do not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

import octcube_core as oc
from octcube_core.checkpoints.card import Architecture, Decoder, ModelCard
from octcube_core.checkpoints.convert import to_reference
from octcube_core.checkpoints.encoders import image_encoder, volume_encoder
from octcube_core.checkpoints.format import save_checkpoint
from octcube_core.errors import CheckpointError, InputError
from octcube_core.models.embeddings import split_cubes
from octcube_core.models.mae import MaskedAutoencoder

CUBE = (3, 16, 16)
VOLUMES = Architecture(
    embed_dim=32, depth=2, num_heads=2, cube=CUBE, grid=(3, 2, 3), mlp_dim=64, final_residual=True
)
IMAGES = dataclasses.replace(VOLUMES, grid=(1, 2, 3), planar=True)
DECODER = Decoder(
    embed_dim=16, depth=2, num_heads=2, mlp_dim=32, final_residual=True, high_res_embedding=True
)
TOKENS = 18


def _model(architecture: Architecture = VOLUMES) -> MaskedAutoencoder:
    torch.manual_seed(0)
    decoder = dataclasses.replace(DECODER, high_res_embedding=not architecture.planar)
    model = MaskedAutoencoder(ModelCard("Test", "0", architecture, decoder=decoder))
    for parameter in model.parameters():  # also what begins as zeros or ones
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def _volume(batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, 1, 9, 32, 48, generator=torch.Generator().manual_seed(1))


def _places(batch: int, kept: int, tokens: int = TOKENS) -> tuple[torch.Tensor, torch.Tensor]:
    order = torch.rand(batch, tokens, generator=torch.Generator().manual_seed(2)).argsort(dim=1)
    return order[:, :kept], order[:, kept:]


def test_decoding_all_hidden_tokens_one_by_one_is_decoding_the_volume():
    model, volume, (keep, hidden) = _model(), _volume(), _places(2, 4)
    whole, part = model(volume, keep), model(volume, keep, hidden)
    index = hidden[..., None].expand(-1, -1, whole.pred.shape[-1])
    torch.testing.assert_close(part.pred, whole.pred.gather(1, index), rtol=0, atol=1e-5)
    torch.testing.assert_close(part.errors, whole.errors.gather(1, hidden), rtol=0, atol=1e-5)
    torch.testing.assert_close(part.loss, whole.loss, rtol=0, atol=1e-6)
    torch.testing.assert_close(part.mask, whole.mask)
    torch.testing.assert_close(part.latent, whole.latent)


def test_a_part_of_the_hidden_tokens_estimates_the_whole_loss_without_bias():
    model, volume, (keep, hidden) = _model(), _volume(), _places(2, 3)
    for (
        block
    ) in model.decoder.blocks:  # what a token is decoded to then does not depend on the others
        nn.init.zeros_(block.attention.proj.weight)
        nn.init.zeros_(block.attention.proj.bias)
    whole = model(volume, keep).loss
    # Every hidden token is in exactly one of these parts, so their mean is the mean over all equally likely draws.
    parts = torch.stack([model(volume, keep, part).loss for part in hidden.split(5, dim=1)])
    assert parts.std() > 1e-3 * whole
    torch.testing.assert_close(parts.mean(), whole, rtol=1e-5, atol=0)


def test_tokens_that_are_not_decoded_get_no_gradient():
    model, volume, (keep, hidden) = _model(), _volume(1), _places(1, 4)
    model(volume, keep, hidden[:, :3]).loss.backward()
    used = torch.cat([keep, hidden[:, :3]], dim=1)[0] % 6
    gradient = model.decoder.positions.spatial.grad[0].abs().sum(dim=1)
    assert set(gradient.nonzero().flatten().tolist()) == set(used.tolist())


def test_bytes_give_what_numbers_give():
    model, (keep, hidden) = _model(), _places(2, 4)
    volume = (_volume() * 255).to(torch.uint8)
    for decode in (None, hidden[:, :5]):
        ours, floats = (model(v, keep, decode) for v in (volume, volume.float() / 255))
        torch.testing.assert_close(ours.loss, floats.loss, rtol=0, atol=1e-7)
        torch.testing.assert_close(ours.pred, floats.pred, rtol=0, atol=1e-6)


def test_normalised_targets():
    model, volume, (keep, hidden) = _model(), _volume(), _places(2, 4)
    found = model(volume, keep, norm_pix=True)
    cubes = split_cubes(volume.squeeze(1), CUBE).double().numpy()
    scaled = (cubes - cubes.mean(-1, keepdims=True)) / cubes.std(-1, keepdims=True, ddof=1)
    errors = ((found.pred.detach().numpy() - scaled) ** 2).mean(-1)
    expected = np.take_along_axis(errors, hidden.numpy(), 1).mean()
    assert found.loss.item() == pytest.approx(expected, rel=1e-4)


def test_checkpointing_changes_no_gradient():
    volume, (keep, hidden) = _volume(), _places(2, 4)
    gradients = []
    for checkpointing in (False, True):
        model = _model()
        model.encoder.checkpointing = model.decoder.checkpointing = checkpointing
        model(volume, keep, hidden[:, :6]).loss.backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 40
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_slices_are_one_layer_that_lies_nowhere_along_z():
    model = _model()
    slices = torch.rand(2, 3, 48, 64, generator=torch.Generator().manual_seed(3))
    keep, _ = _places(2, 4, tokens=12)
    found = model.reconstruct_slices(slices, keep)
    # The same by volumes of one layer, in a model whose embedding is that of slices and that has no positions along z.
    like = _model()
    like.encoder.embedding.load_state_dict(like.high_res_embedding.state_dict())
    nn.init.zeros_(like.encoder.positions.temporal)
    nn.init.zeros_(like.decoder.positions.temporal)
    expected = like(slices[:, None], keep)
    torch.testing.assert_close(found.pred, expected.pred)
    torch.testing.assert_close(found.loss, expected.loss)


def test_a_model_without_an_embedding_for_slices_says_so():
    with pytest.raises(InputError, match="no embedding for slices"):
        _model(IMAGES).reconstruct_slices(torch.rand(1, 3, 32, 48), torch.zeros(1, 2).long())


def test_an_autoencoder_of_images_is_saved_and_its_encoder_used(tmp_path):
    model = _model(IMAGES)
    image = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(4))
    keep, hidden = _places(2, 2, tokens=6)
    save_checkpoint(tmp_path / "faf.safetensors", model)
    loaded = oc.load_model(tmp_path / "faf.safetensors", device="cpu", precision="fp32")
    assert loaded.card.kind == "mae"
    torch.testing.assert_close(loaded(image, keep).loss, model(image, keep).loss)
    torch.testing.assert_close(loaded(image, keep, hidden).loss, model(image, keep, hidden).loss)
    encoder = image_encoder(loaded)
    assert encoder.card.kind == "enface"
    torch.testing.assert_close(encoder.encoder(image), model.encoder(image))
    assert image_encoder(loaded, (64, 64)).card.architecture.grid == (1, 4, 4)
    assert volume_encoder(loaded, (6, 32, 48)).card.architecture.grid == (2, 2, 3)


def test_an_autoencoder_of_images_has_no_reference_layout(tmp_path):
    save_checkpoint(tmp_path / "faf.safetensors", _model(IMAGES))
    with pytest.raises(CheckpointError, match="masked autoencoder of images"):
        to_reference(tmp_path / "faf.safetensors", tmp_path / "faf.pth")


def test_a_model_of_volumes_has_no_image_encoder():
    with pytest.raises(InputError, match="no encoder of en-face images"):
        image_encoder(_model())
