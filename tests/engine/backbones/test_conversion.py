"""Converted checkpoints: what fits, what is left over, how it is told."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tilth_engine.backbones import catalogue
from tilth_engine.backbones.conversion import checked, summary
from tilth_engine.backbones.inputs import Inputs
from tilth_engine.backbones.prithvi import PrithviBackbone

CARD = replace(
    catalogue.card_of("prithvi-2-tiny-tl"),
    options={"dim": 16, "depth": 1, "heads": 1, "coordinates": False},
)


def tensors() -> dict[str, torch.Tensor]:
    return dict(PrithviBackbone(CARD, Inputs.all_of(CARD)).state_dict())


def test_what_fits_is_kept_and_what_is_unknown_is_named():
    whole = tensors()
    found = checked(PrithviBackbone, CARD, {**whole, "ema.decay": torch.ones(1)}, ["mask_token"])
    assert list(found.tensors) == list(whole)
    assert found.dropped == ["ema.decay", "mask_token"]


def test_missing_and_misshapen_tensors_are_refused():
    whole = tensors()
    with pytest.raises(ValueError, match=r"2\.0 tiny TL: norm\.bias \[16\] is missing \(1 of 17"):
        checked(PrithviBackbone, CARD, {k: v for k, v in whole.items() if k != "norm.bias"}, [])
    whole["embed.weight"] = torch.zeros(16, 5, 16, 16)
    with pytest.raises(ValueError, match=r"\[16, 5, 16, 16\], expected \[16, 6, 16, 16\]"):
        checked(PrithviBackbone, CARD, whole, [])


def test_names_of_one_part_are_told_together():
    names = ["decoder.0.a.weight", "decoder.1.a.weight", "encoder.tok.b.weight", "mask_token"]
    names += ["norm.bias", "encoder.tok.b.bias"]
    assert summary(names) == [
        "decoder.* (2 tensors)",
        "encoder.tok.* (2 tensors)",
        "mask_token",
        "norm.bias",
    ]
