"""Deep visual prompt tuning: learnt tokens beside the image's in every block.

Source: Jia et al. 2022 (arXiv 2203.12119), VPT-deep; 100 prompts and a dropout of 0.1 as in arXiv
2504.17397.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from ...backbones.base import Backbone
from ...errors import TilthError


class Prompted(nn.Module):
    """A transformer block that sees prompts before the tokens, and gives the tokens alone back.

    Attention without positions in it doesn't care where among the tokens the prompts stand, so that
    class and register tokens need no care.
    """

    def __init__(self, block: nn.Module, count: int, dim: int, bound: float, dropout: float):
        """`count` prompts of width `dim`, drawn evenly from -bound..bound."""
        super().__init__()
        self.block = block
        self.prompts = nn.Parameter(torch.empty(count, dim).uniform_(-bound, bound))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens [B, N, dim]; the same shape comes back."""
        prompts = self.dropout(self.prompts).to(tokens.dtype).expand(len(tokens), -1, -1)
        output: Tensor = self.block(torch.cat([prompts, tokens], dim=1))
        return output[:, prompts.shape[1] :]


def add(backbone: Backbone, count: int, dropout: float) -> None:
    """Give every block of a backbone its prompts, in place; weights from torch's generator.

    Raises TilthError for blocks that are not plain transformer blocks.
    """
    check_blocks("vpt", backbone)
    names: dict[nn.Module, str] = {module: name for name, module in backbone.named_modules()}
    for block in backbone.blocks:
        norm: Any = block.norm1
        dim = norm.weight.numel()
        bound = math.sqrt(6.0 / (3 * backbone.patch**2 + dim))
        backbone.set_submodule(names[block], Prompted(block, count, dim, bound, dropout))


def check_blocks(method: str, backbone: Backbone) -> None:
    """Raise TilthError unless each block is a function of tokens [B, N, dim] and nothing else."""
    if not all(isinstance(block, Block) for block in backbone.blocks):
        raise TilthError(
            f"method {method}: it needs plain transformer blocks, which backbone "
            f"{backbone.card.id!r} doesn't have (a CNN, or positions inside the attention); choose "
            "lora"
        )
