"""Which settings each method is said to have: those that change what is built, and no others."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tilth_engine.jobs import METHOD_SETTINGS
from tilth_engine.method_list import METHODS
from tilth_engine.model.methods import kin
from tilth_engine.model.methods.method import Method

OTHER = {"rank": 64, "alpha": 7, "dropout": 0.3, "targets": ("attn.qkv", "mlp.fc2")}


@pytest.mark.parametrize("name", kin.KIN)
def test_what_a_method_heeds_is_what_the_list_says(name: str) -> None:
    about = METHODS[name]
    usual = Method(name, about.rank or 16, about.rank or 16, ("attn.qkv",), about.dropout)
    plain = kin.configuration(usual).to_dict()
    heeded = {
        entry
        for entry, value in OTHER.items()
        if kin.configuration(replace(usual, **{entry: value})).to_dict() != plain
    }
    assert heeded == set(METHOD_SETTINGS[name])


def test_other_methods_have_prompts_and_their_dropout_at_most() -> None:
    others = set(METHODS) - set(kin.KIN)
    assert {name: METHOD_SETTINGS[name] for name in others & set(METHOD_SETTINGS)} == {
        "vpt": ("dropout", "prompts")
    }
    assert set(METHOD_SETTINGS) <= set(METHODS)
