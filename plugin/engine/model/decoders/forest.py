"""A random forest as a decoder: trees in tensors, so that an adapter holds one without pickle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import TilthError
from .neighbourhood import feature_count, features

# Nodes of a tree: 1024 leaves and the splits above them.
NODES = 2047
FEWEST = 3
DEPTH = 40
# Sides of the squares around a pixel whose mean and spread are features.
SQUARES = (3, 5)
# Pixels that walk down the trees together: what the cache holds.
_TOGETHER = 4096


class ForestDecoder(nn.Module):
    """The trees' mean class probabilities (Breiman 2001, Random Forests), as logits.

    It sees single pixels or, with `neighbourhood`, squares around them; no backbone's maps. Nothing
    of it learns by gradients: `grow` puts fitted trees in. A leaf's `feature` is -1.
    """

    depths = 0
    feature: Tensor
    threshold: Tensor
    child: Tensor
    chances: Tensor

    def __init__(self, bands: int, classes: int, trees: int, neighbourhood: bool) -> None:
        super().__init__()
        self.sides = SQUARES if neighbourhood else ()
        self.count = feature_count(bands, self.sides)
        self.trees, self.classes = trees, classes
        for name in ("feature", "threshold", "child", "chances"):
            self.register_buffer(name, torch.zeros(0))
        self._clear(FEWEST)
        self.register_load_state_dict_pre_hook(_check)

    def _clear(self, nodes: int) -> None:
        """Make room for trees of so many nodes: single leaves that know nothing."""
        shape, device = (self.trees, nodes), self.feature.device
        self.feature = torch.full(shape, -1, dtype=torch.int16, device=device)
        self.threshold = torch.zeros(shape, device=device)
        # The left child; the right one is the next node.
        self.child = torch.zeros(shape, dtype=torch.int16, device=device)
        self.chances = torch.full((*shape, self.classes), 1 / self.classes, device=device)

    def forward(self, image: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """image (B, C, H, W). Returns log-probabilities (B, classes, H, W)."""
        with torch.autocast(image.device.type, enabled=False):
            values = features(image.float(), self.sides)
            pixels = values.permute(0, 2, 3, 1).reshape(-1, self.count)
            found = torch.cat([self._chances(part) for part in pixels.split(_TOGETHER)])
            shape = (image.shape[0], *image.shape[-2:], found.shape[1])
            return found.clamp(min=1e-4).log().reshape(shape).permute(0, 3, 1, 2)

    def _chances(self, pixels: Tensor) -> Tensor:
        """Mean class probabilities (N, K) of pixels (N, F)."""
        trees, nodes, classes = self.chances.shape
        features, thresholds, children = (
            part.flatten() for part in (self.feature.long(), self.threshold, self.child.int())
        )
        first = torch.arange(trees, device=pixels.device, dtype=torch.int32) * nodes
        at = first.repeat(len(pixels))
        for _ in range(DEPTH):
            feature = features.index_select(0, at).view(-1, trees)
            inner = feature >= 0
            if not inner.any():
                break
            value = pixels.gather(1, feature.clamp(min=0)).flatten()
            right = value > thresholds.index_select(0, at)
            below = children.index_select(0, at) + right + first.repeat(len(pixels))
            at = torch.where(inner.flatten(), below, at)
        return F.embedding_bag(at.view(-1, trees), self.chances.view(-1, classes), mode="mean")

    def grow(self, trees: Sequence[Any], classes: Sequence[int]) -> None:
        """Put fitted trees of scikit-learn (their `tree_`) in; `classes` are those they know.

        Raises ValueError for another number of trees, and for one of too many nodes.
        """
        nodes = max(FEWEST, *(tree.node_count for tree in trees))
        if len(trees) != self.trees or nodes > NODES:
            raise ValueError(f"{len(trees)} trees of up to {nodes} nodes")
        self._clear(nodes)
        for number, tree in enumerate(trees):
            self._plant(number, tree, classes)

    def _plant(self, number: int, tree: Any, classes: Sequence[int]) -> None:
        # In half precision, as the file holds it, so that the score is that of the file.
        # Children side by side, in the order in which they are met.
        order = [0]
        nodes = self.feature.shape[1]
        place, child = np.full(nodes, -1, np.int16), np.zeros(nodes, np.int16)
        for here, node in enumerate(order):
            if tree.children_left[node] >= 0:
                place[here], child[here] = tree.feature[node], len(order)
                order += [int(tree.children_left[node]), int(tree.children_right[node])]
        share = tree.value[order, 0, :]
        chances = np.zeros((len(order), self.chances.shape[2]), np.float32)
        chances[:, list(classes)] = share / share.sum(1, keepdims=True)
        self.feature[number] = torch.from_numpy(place)
        self.child[number] = torch.from_numpy(child)
        self.threshold[number, : len(order)] = torch.from_numpy(tree.threshold[order]).half()
        self.chances[number, : len(order)] = torch.from_numpy(chances).half()


def _check(decoder: ForestDecoder, state: Mapping[str, Tensor], prefix: str, *rest: Any) -> None:
    """Refuse a stranger's trees that lead out of the forest. Raises TilthError."""
    feature, child = state.get(prefix + "feature"), state.get(prefix + "child")
    if feature is None or child is None or feature.shape != child.shape:
        return  # load_state_dict says what is missing
    nodes = feature.shape[-1]
    outside = (feature >= decoder.count).any() or (child < 0).any() or (child > nodes - 2).any()
    if outside or feature.ndim != 2 or not FEWEST <= nodes <= NODES:
        raise TilthError("adapter weights: the forest's trees make no sense")
    decoder._clear(nodes)
