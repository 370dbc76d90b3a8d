"""What the usual classifiers make of the landscape: soft labels for pixels that nobody labelled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import NearestNeighbors

from ..model.decoders.linear_opinion import LinearOpinion
from ..model.decoders.local import LocalBranch
from ..model.decoders.neighbourhood import feature_count, squares
from .discriminant import Discriminant, ranks_among
from .thinning import thinned

TREES = 40
# Labelled pixels that a classifier learns from: more cost time and change little.
MOST = 8_000
# Labelled pixels whose soft labels are learnt from at the least, if there are as many.
LABELLED = 2_000
# What the discriminants together, and the one on tokens, count beside the forests' 5.
LINEAR, ON_TOKENS = 4.0, 2.0
# Where the land looks like no polygon their guesses are wild, and they count the less the farther
# its bands are from all that was labelled (this far, in the landscape's standard deviations: by
# 1/e), but for this many polygons a class or fewer, where all land is far (docs/trials.md).
FAR, MANY = 0.3, 3
# Pixels of a class below which its spread can't be told.
FEWEST = 5
# Pixels that a small polygon gives, some of them several times, where all give as many.
LEAST = 10
# The name of the opinion on the plain backbone's tokens, and the beginning of those on squares.
TOKENS, DISCRIMINANT = "discriminant on tokens", "discriminant "


@dataclass(frozen=True)
class Labelled:
    """Labelled pixels: features [n, F], classes [n] (from 0), and whose polygons they are [n].

    The plain backbone's tokens, where it is asked, are the last of the features; they are not a
    number where time did not suffice to ask it.
    """

    values: NDArray[np.float32]
    classes: NDArray[np.int64]
    units: NDArray[np.int32]

    def some(self, most: int, rng: np.random.Generator) -> Labelled:
        """At most so many of them, in any order, of each class some (`thinned`)."""
        return self.pick(thinned(self.classes, most, rng))

    def pick(self, places: NDArray[np.int64]) -> Labelled:
        """Those at the places."""
        return Labelled(self.values[places], self.classes[places], self.units[places])

    def seen(self) -> Labelled:
        """Those whose features are all known."""
        return self.pick(np.flatnonzero(~np.isnan(self.values[:, -1])))

    def tellable(self) -> bool:
        """Whether there are classes to tell apart, and one with pixels enough to know its spread,
        which discriminants take for that of all."""
        counts = np.unique(self.classes, return_counts=True)[1]
        return len(counts) > 1 and bool(counts.max() >= FEWEST)

    def alike(self, rng: np.random.Generator) -> Labelled:
        """As many of each polygon, at random: how large it was drawn says nothing of its class."""
        whose, counts = self._polygons()
        each = int(min(max(np.median(counts), LEAST), max(MOST // len(counts), 1)))
        places = [rng.choice(np.flatnonzero(whose == one), each) for one in range(len(counts))]
        return self.pick(np.concatenate(places))

    def polygons(self) -> float:
        """The mean number of polygons a class."""
        return len(self._polygons()[1]) / max(len(np.unique(self.classes)), 1)

    def _polygons(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which polygon each pixel is of [n], and how many pixels each has [P].

        A unit of a label raster may have several classes: each is one here.
        """
        pairs = np.stack([self.units, self.classes])
        found = np.unique(pairs, axis=1, return_inverse=True, return_counts=True)
        return found[1].ravel(), found[2]


@dataclass(frozen=True)
class Opinion:
    """A classifier that has learnt nothing yet: its features, its weight, what it learns from.

    One that is ``wild`` counts less where the land is far from all that was labelled.
    """

    name: str
    model: Any
    columns: NDArray[np.int64]
    weight: float
    labelled: Labelled
    wild: bool = False

    def chances(self, pixels: NDArray[np.float32], count: int) -> NDArray[np.float32]:
        """Learn, and tell the class probabilities [N, count] of pixels [N, F]."""
        self.model.fit(self.labelled.values[:, self.columns], self.labelled.classes)
        result = np.zeros((len(pixels), count), np.float32)
        result[:, self.model.classes_] = self.model.predict_proba(pixels[:, self.columns])
        return result


def soft_labels(
    labelled: Labelled,
    landscape: NDArray[np.float32],
    bands: int,
    sides: Sequence[int],
    count: int,
    seed: int,
    step: Callable[[], None] = lambda: None,
    opinions_of: Mapping[str, LinearOpinion] = MappingProxyType({}),
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pixels [N, F], labelled ones and others, with their class probabilities [N, count].

    The features are of so many ``bands`` and with squares of ``sides`` pixels; ``landscape`` [m, F]
    are those of pixels from all over the images. ``step`` is called between the classifiers;
    ``opinions_of`` become the discriminants of their names (`DISCRIMINANT` and `TOKENS`).

    The opinion is the mean of random forests, each on a wider neighbourhood, and of linear
    discriminants on the values, on their ranks in the landscape and on the plain backbone's
    tokens, for which a handful of polygons is enough. Forests keep to what they have seen: where
    the land looks like no polygon, theirs is a sounder guess than a network's. A network that
    learns it (distillation: Hinton et al. 2015, arXiv 1503.02531) is as sound, smoother, and needs
    no trees to be kept.
    """
    labelled = labelled.some(MOST, np.random.default_rng(seed))
    # However little of the land was found, the labelled pixels teach.
    known = labelled.seen().values[: max(len(landscape), LABELLED)]
    pixels = np.concatenate([landscape, known])
    chances = np.zeros((len(pixels), count), np.float32)
    near = nearness(labelled, pixels, bands)
    for opinion in opinions(labelled, pixels, bands, sides, seed):
        step()
        weight = np.float32(opinion.weight) * (near if opinion.wild else np.ones_like(near))
        chances += weight[:, None] * opinion.chances(pixels, count)
        if opinion.name in opinions_of:
            opinions_of[opinion.name].take(opinion.model.rule())
    return pixels, chances / chances.sum(1, keepdims=True)


def named_opinions(branch: LocalBranch) -> dict[str, LinearOpinion]:
    """The discriminants that a branch looks at, by the teachers' names for them."""
    named = {DISCRIMINANT + name: opinion for name, opinion in branch.opinions().items()}
    return named if branch.tokens is None else {**named, TOKENS: branch.tokens}


def nearness(labelled: Labelled, pixels: NDArray[np.float32], bands: int) -> NDArray[np.float32]:
    """How much what guesses wildly far from the labels counts at each of the pixels [N], 0 to 1."""
    least = min(1.0, MANY / labelled.polygons()) ** 2
    if least == 1 or not len(pixels):
        return np.ones(len(pixels), np.float32)
    spread = pixels[:, :bands].std(0) + 1e-3
    known = NearestNeighbors(n_neighbors=1).fit(labelled.values[:, :bands] / spread)
    distance = known.kneighbors(pixels[:, :bands] / spread)[0][:, 0]
    return np.maximum(np.exp(-((distance / FAR) ** 2)), least).astype(np.float32)


def opinions(
    labelled: Labelled,
    pixels: NDArray[np.float32],
    bands: int,
    sides: Sequence[int],
    seed: int,
) -> Iterator[Opinion]:
    """The usual classifiers; ``pixels`` [N, F] are those whose ranks count."""
    around = {name: np.array(columns) for name, columns in squares(bands, sides).items()}
    tokens = np.arange(feature_count(bands, sides), labelled.values.shape[1])
    yield from _forests(labelled, {"1": np.arange(bands), **around}, seed)
    if labelled.tellable():
        alike = labelled.alike(np.random.default_rng(seed))
        yield from _discriminants(alike, pixels, around)
    seen = labelled.seen()
    if len(tokens) and seen.tellable():
        alike = seen.alike(np.random.default_rng(seed))
        yield Opinion(TOKENS, Discriminant(), tokens, ON_TOKENS, alike, wild=True)


def _forests(
    labelled: Labelled, around: dict[str, NDArray[np.int64]], seed: int
) -> Iterator[Opinion]:
    threads = torch.get_num_threads()
    for name, columns in around.items():
        forest = RandomForestClassifier(TREES, random_state=seed, n_jobs=threads)
        # The one on bands alone guesses best where the land looks like no polygon.
        weight = 2.0 if name == "1" else 1.0
        yield Opinion(f"forest {name}", forest, columns, weight, labelled)


def _discriminants(
    alike: Labelled, pixels: NDArray[np.float32], around: dict[str, NDArray[np.int64]]
) -> Iterator[Opinion]:
    weight = LINEAR / (2 * len(around))
    for name, columns in around.items():
        yield Opinion(DISCRIMINANT + name, Discriminant(), columns, weight, alike, wild=True)
        ranks = Discriminant(ranks_among(pixels[:, columns]))
        yield Opinion(f"discriminant of ranks {name}", ranks, columns, weight, alike, wild=True)
