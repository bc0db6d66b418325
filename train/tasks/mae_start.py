"""What a masked autoencoder starts from: RETFound, another encoder, or a masked autoencoder that is continued."""

from __future__ import annotations

import torch

from octcube_core.checkpoints import load_model
from octcube_core.models.embeddings import CubePositions
from octcube_core.models.mae import MaskedAutoencoder
from train.tasks.encoder_start import check_same, copy_encoder

DECODER_FIELDS = ("embed_dim", "depth", "num_heads", "mlp_dim", "final_residual")


def start_from(model: MaskedAutoencoder, name_or_path: str) -> None:
    """Copy another model's weights, position tables interpolated to this model's.

    The encoder is that of any model; one of images (RETFound) becomes one of volumes, as ``volume_encoder`` says, and
    may then do without its last residual connection, if this model's card says so. The decoder and the embedding of
    slices come along from a masked autoencoder; else the decoder stays random and slices are embedded as cubes are.

    Raises
    ------
    InputError
        If the source's sizes are not those of this model's card.
    """
    source = load_model(name_or_path, device="cpu", precision="fp32")
    continued = (
        isinstance(source, MaskedAutoencoder)
        and source.card.architecture.planar == model.card.architecture.planar
    )
    copy_encoder(model.encoder, source, name_or_path, same_residual=continued)
    if continued:
        assert isinstance(source, MaskedAutoencoder)
        _copy_decoder(model, source, name_or_path)
    if model.high_res_embedding is not None:
        slices = source.high_res_embedding if isinstance(source, MaskedAutoencoder) else None
        model.high_res_embedding.load_state_dict((slices or model.encoder.embedding).state_dict())


def _copy_decoder(model: MaskedAutoencoder, source: MaskedAutoencoder, name_or_path: str) -> None:
    mine, theirs = model.card.decoder, source.card.decoder
    assert mine is not None
    assert theirs is not None
    check_same(theirs, mine, f"The decoder of {name_or_path}", DECODER_FIELDS)
    weights = source.decoder.state_dict()
    for name, table in _tables(source.decoder.positions, model.decoder.positions).items():
        weights[f"positions.{name}"] = table
    model.decoder.load_state_dict(weights)


def _tables(source: CubePositions, target: CubePositions) -> dict[str, torch.Tensor]:
    spatial, temporal = source.tables(target.table_grid)
    tables = {"spatial": spatial.detach()}
    return tables if target.temporal is None else tables | {"temporal": temporal.detach()}
