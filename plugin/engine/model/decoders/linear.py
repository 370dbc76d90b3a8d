"""The paper's linear decoder."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ...precise import float32_on_cpu


class LinearDecoder(nn.Module):
    """One transposed convolution from tokens to pixels: the paper's linear decoder.

    Source: "Fine-tune Smarter, Not Harder" (arXiv 2504.17397), kernel = stride = patch.
    """

    depths = 1

    def __init__(self, dim: int, stride: int, classes: int) -> None:
        super().__init__()
        self.head = nn.ConvTranspose2d(dim, classes, stride, stride=stride)

    def forward(self, image: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """maps: the last is (B, dim, H/stride, W/stride). Returns logits (B, classes, H, W)."""
        # Its backward pass is a convolution with as many channels as there are classes.
        with float32_on_cpu(image):
            return self.head(maps[-1].float())  # type: ignore[no-any-return]
