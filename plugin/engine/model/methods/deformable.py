"""Multi-scale deformable attention without a compiled operator.

Source: Zhu et al. 2020 (arXiv 2010.04159).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Size = tuple[int, int]


class DeformableAttention(nn.Module):
    """Each query looks at a few points of every level of a pyramid, which it chooses itself."""

    def __init__(self, dim: int, levels: int, heads: int, points: int, ratio: float) -> None:
        """`ratio` is the width of the values by `dim`, which `heads` must divide."""
        super().__init__()
        self.levels, self.heads, self.points = levels, heads, points
        width = int(dim * ratio)
        self.value = nn.Linear(dim, width)
        self.offset = nn.Linear(dim, heads * levels * points * 2)
        self.weight = nn.Linear(dim, heads * levels * points)
        self.output = nn.Linear(width, dim)
        self._start()

    def _start(self) -> None:
        """Heads look in different directions, their points at growing distances."""
        angles = torch.arange(self.heads) * (2 * math.pi / self.heads)
        ways = torch.stack([angles.cos(), angles.sin()], -1)
        ways = ways / ways.abs().max(-1, keepdim=True).values
        steps = torch.arange(1, self.points + 1).float()
        bias = ways[:, None, None] * steps[:, None]
        nn.init.zeros_(self.offset.weight)
        self.offset.bias.data = bias.expand(-1, self.levels, -1, -1).flatten().clone()
        for layer in (self.weight.weight, self.weight.bias, self.value.bias, self.output.bias):
            nn.init.zeros_(layer)
        nn.init.xavier_uniform_(self.value.weight)
        nn.init.xavier_uniform_(self.output.weight)

    def forward(self, query: Tensor, places: Tensor, memory: Tensor, sizes: Sequence[Size]):
        """Features [B, Q, dim] that the queries found.

        query: [B, Q, dim]. places: [Q, 2], each query's x and y in 0..1 of the image.
        memory: [B, sum of height * width, dim], the levels one behind the other, by rows.
        sizes: height and width of each level.
        """
        batch, count, _ = query.shape
        shape = (batch, count, self.heads, self.levels, self.points)
        offset = self.offset(query).float().view(*shape, 2)
        weight = self.weight(query).float().view(batch, count, self.heads, -1)
        weight = weight.softmax(-1).view(shape)
        levels = self.value(memory).split([height * width for height, width in sizes], dim=1)
        found = query.new_zeros(())
        for number, ((height, width), values) in enumerate(zip(sizes, levels, strict=True)):
            # Offsets count in the level's pixels.
            span = offset.new_tensor([width, height])
            where = places[:, None, None] + offset[:, :, :, number] / span
            found = found + _sample(values, (height, width), where, weight[:, :, :, number])
        return self.output(found.to(query.dtype))


def _sample(values: Tensor, size: Size, where: Tensor, weight: Tensor) -> Tensor:
    """Weighted sums [B, Q, width] of values [B, h * w, width] at points [B, Q, heads, P, 2].

    Between pixels it interpolates bilinearly; outside the image everything is zero.
    """
    batch, count, heads, points, _ = where.shape
    maps = values.transpose(1, 2).reshape(batch * heads, -1, *size)
    grid = (2 * where - 1).permute(0, 2, 1, 3, 4).reshape(batch * heads, count, points, 2)
    found = F.grid_sample(maps.float(), grid, padding_mode="zeros", align_corners=False)
    shares = weight.permute(0, 2, 1, 3).reshape(batch * heads, 1, count, points)
    return (found * shares).sum(-1).view(batch, -1, count).transpose(1, 2)


def centres(size: Size, like: Tensor) -> Tensor:
    """Places [height * width, 2] of a map's pixels: x and y of their centres in 0..1, by rows."""
    height, width = size
    y = (torch.arange(height, device=like.device, dtype=torch.float32) + 0.5) / height
    x = (torch.arange(width, device=like.device, dtype=torch.float32) + 0.5) / width
    return torch.stack([x.expand(height, -1), y[:, None].expand(-1, width)], -1).flatten(0, 1)
