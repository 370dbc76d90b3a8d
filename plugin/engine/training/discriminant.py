"""A linear classifier for a handful of polygons that does not run wild far from them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.preprocessing import QuantileTransformer

from ..model.decoders.linear_opinion import Rule

# By how many of its quantiles a feature's ranks are told.
QUANTILES = 100
# Ranks beyond this normal score (one pixel in 200) tell outliers apart, not classes.
UTMOST = 2.6


def ranks_among(values: NDArray[np.float32]) -> QuantileTransformer:
    """What turns features into normal scores of their ranks among those given [N, F]."""
    return QuantileTransformer(
        n_quantiles=min(QUANTILES, len(values)), output_distribution="normal", subsample=None
    ).fit(values)


class Discriminant:
    """A linear discriminant, with the shrinkage of Ledoit and Wolf 2004.

    Each feature is held within what it had in training: what is far outside of that would be judged
    with the more certainty the farther away it is. With ``ranks`` it sees features' ranks in the
    landscape instead: they tell classes apart where few values are far from all others.
    """

    def __init__(self, ranks: QuantileTransformer | None = None) -> None:
        self.ranks = ranks
        self.model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")

    def fit(self, values: NDArray[np.float32], classes: NDArray[np.int64]) -> None:
        """Learn from features [n, F] and classes [n]."""
        scaled = self._scaled(values)
        self.low, self.high = scaled.min(0), scaled.max(0)
        self.model.fit(scaled, classes)
        self.classes_ = self.model.classes_

    def predict_proba(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Class probabilities [n, K] of features [n, F]."""
        chances: NDArray[np.float64] = self.model.predict_proba(
            self._scaled(values).clip(self.low, self.high)
        )
        return chances

    def rule(self) -> Rule:
        """What has been learnt on values (not on ranks)."""
        weight, bias = self.model.coef_, self.model.intercept_
        if len(weight) == 1:  # of two classes, those of the second alone
            weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
        return Rule(self.low, self.high, weight, bias, self.classes_)

    def _scaled(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        if self.ranks is None:
            return values.astype(np.float64)
        scores: NDArray[np.float64] = self.ranks.transform(values).clip(-UTMOST, UTMOST)
        return scores
