"""TerraMind against TerraTorch: run `python benchmarks/oracle/terramind.py --peer PYTHON`.

The peer is TerraTorch's TerraMindViT with its default merging of modalities (their mean) and its
own selection of bands. Some names of the whole model (decoder, tokenised modalities) are added to
its tensors, since the official files have them.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import torch
from common import Answer, Case, main, randomise, spread, version
from torch import Tensor, nn

MODELS = ["terramind-tiny", "terramind-small", "terramind-base", "terramind-large"]
GOLDEN = {"terramind_plain": "terramind-tiny", "terramind_gated": "terramind-base"}
# TerraTorch's modalities, in the card's order, with their numbers of bands.
COUNTS = {"S2L2A": 12, "S2L1C": 13, "RGB": 3, "S1GRD": 2, "S1RTC": 2, "DEM": 1}
# dim, depth, heads, gated
SIZES = {
    "terramind-tiny": (192, 12, 3, False),
    "terramind-small": (384, 12, 6, False),
    "terramind-base": (768, 12, 12, True),
    "terramind-large": (1024, 24, 16, True),
    "terramind_plain": (16, 2, 2, False),
    "terramind_gated": (16, 2, 2, True),
}


def cases(side: int, patch: int, depth: int) -> list[Case]:
    """One modality, several, other sizes, and a part of a modality's bands in another order."""
    depths = spread(depth)
    return [
        Case("native", (side, side), _bands("S2L2A"), depths),
        Case("level-1c", (side, side), _bands("S2L1C"), depths),
        Case("radar-elevation", (side, side), _bands("S1RTC", "DEM"), depths),
        Case("other-size", (5 * patch, 3 * patch), _bands("RGB", "S1GRD"), depths),
        Case("subset", (side, side), [7, 1, 10, *_bands("S1GRD")[1:]], depths),
    ]


def _bands(*modalities: str) -> list[int]:
    """The card's indices of all bands of some modalities."""
    starts, start = {}, 0
    for modality, count in COUNTS.items():
        starts[modality] = start
        start += count
    return [
        starts[modality] + number for modality in modalities for number in range(COUNTS[modality])
    ]


def _by_modality(case: Case) -> dict[str, tuple[list[int], list[int]]]:
    """Of each modality of a case: where its bands are in the image, which of its own they are."""
    found: dict[str, tuple[list[int], list[int]]] = {}
    for place, index in enumerate(case.bands):
        for modality in COUNTS:
            members = _bands(modality)
            if index in members:
                places, own = found.setdefault(modality, ([], []))
                places.append(place)
                own.append(members.index(index))
    return found


def peer(name: str) -> Answer:
    """TerraTorch's half of a model."""
    dim, depth, heads, gated = SIZES[name]
    side, patch = (16, 4) if name in GOLDEN else (224, 16)
    whole = randomise(_model(name, list(COUNTS), side, patch))
    weights = dict(whole.state_dict())
    for extra in ("decoder.0.norm1.weight", "decoder.0.self_attn.qkv.weight", "mask_token",
                  "decoder_proj_context.weight", "encoder_embeddings.tok_lulc@224.token_emb.weight",
                  "encoder_embeddings.tok_lulc@224.mod_emb"):  # fmt: skip
        weights[extra] = torch.ones(dim)
    card: dict[str, Any] = {}
    if name in GOLDEN:
        options = {"dim": dim, "depth": depth, "heads": heads, "gated": gated}
        card = {"options": options, "patch": patch, "native_size": side}

    def run(case: Case, image: Tensor) -> dict[int, Tensor]:
        from terratorch.models.backbones.terramind.model import terramind_register as register

        parts = _by_modality(case)
        known = register.PRETRAINED_BANDS
        model = _model(name, list(parts), side, patch)
        model.load_state_dict(register.checkpoint_filter_fn(weights, model), strict=True)
        wanted = {
            part: [known[model.mod_name_mapping[part]][number] for number in own]
            for part, (_, own) in parts.items()
        }
        model = register.select_modality_patch_embed_weights(model, wanted, known).eval()
        features = model({part: image[:, places] for part, (places, _) in parts.items()})
        grid = [length // patch for length in case.size]
        return {
            number: features[number - 1].unflatten(1, grid).permute(0, 3, 1, 2)
            for number in case.depths
        }

    found = [(case, case.image(), partial(run, case)) for case in cases(side, patch, depth)]
    return Answer(weights, version("terratorch"), found, card)


def _model(name: str, modalities: list[str], side: int, patch: int) -> Any:
    """TerraTorch's model of some modalities; the tiny ones with kernels of a smaller patch."""
    from terratorch.models.backbones.terramind.model import terramind_register as register
    from terratorch.models.backbones.terramind.model.encoder_embeddings import ImageEncoderEmbedding
    from terratorch.models.backbones.terramind.model.terramind_vit import TerraMindViT
    from terratorch.models.backbones.terramind.model.tm_utils import LayerNorm

    if name in MODELS:
        return getattr(register, name.replace("-", "_v1_"))(pretrained=False, modalities=modalities)
    dim, depth, heads, gated = SIZES[name]
    model = TerraMindViT(
        img_size=side,
        modalities={
            _published(modality): ImageEncoderEmbedding(
                num_channels=COUNTS[modality], patch_size=patch, dim_tokens=dim, image_size=side
            )
            for modality in modalities
        },
        patch_size=patch,
        dim=dim,
        encoder_depth=depth,
        num_heads=heads,
        qkv_bias=not gated,
        proj_bias=not gated,
        mlp_bias=not gated,
        norm_layer=partial(LayerNorm, eps=1e-6, bias=False),
        act_layer=nn.SiLU if gated else nn.GELU,
        gated_mlp=gated,
    )
    model.mod_name_mapping = {modality: _published(modality) for modality in modalities}
    model.modalities = list(modalities)
    return model


def _published(modality: str) -> str:
    """TerraTorch's name of a modality's tensors."""
    return f"untok_{modality.lower().replace('s2', 'sen2').replace('s1', 'sen1')}@224".replace(
        "untok_rgb", "untok_sen2rgb"
    )


if __name__ == "__main__":
    sys.exit(main(__doc__, {name: name for name in MODELS}, GOLDEN, peer))
