"""Which polygons belong together, so that a split never tears them apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import shapely

# Overlap in pixels from which two polygons share ground; neighbours drawn along the same edge
# overlap by slivers and do not.
_SHARED = 0.5


class UnionFind:
    """Sets of integers that grow together; the smallest member names a set."""

    def __init__(self, members: Iterable[int]) -> None:
        self._parent = {member: member for member in members}

    def find(self, member: int) -> int:
        """The name of the member's set."""
        root = member
        while self._parent[root] != root:
            root = self._parent[root]
        while self._parent[member] != root:
            self._parent[member], member = root, self._parent[member]
        return root

    def join(self, first: int, second: int) -> None:
        """Make one set of two."""
        a, b = sorted((self.find(first), self.find(second)))
        self._parent[b] = a


def join_overlapping(
    sets: UnionFind, ids: Sequence[int], kinds: Sequence[int], geometries: np.ndarray
) -> None:
    """Join the ids whose geometries (in pixels) share ground and are of one kind, or of kind 0."""
    if len(geometries) < 2:
        return
    tree = shapely.STRtree(geometries)
    left, right = tree.query(geometries, predicate="intersects")
    kind = np.asarray(kinds)
    together = (kind[left] == kind[right]) | (kind[left] == 0) | (kind[right] == 0)
    keep = (left < right) & together
    left, right = left[keep], right[keep]
    shared = shapely.area(shapely.intersection(geometries[left], geometries[right]))
    smallest = np.minimum(shapely.area(geometries[left]), shapely.area(geometries[right]))
    for a, b in zip(*(side[shared > np.minimum(_SHARED, smallest / 2)] for side in (left, right))):
        sets.join(ids[int(a)], ids[int(b)])
