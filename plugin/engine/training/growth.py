"""Training of a random forest: the baseline with which a network is compared."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from ..memory import Portion
from ..model.decoders.forest import DEPTH, NODES, ForestDecoder
from ..model.segmenter import Segmenter
from .aim import Aim
from .neighbourhood import features_at
from .samples import Chip
from .scoring import Progress, Scorer, Settings

# Labelled pixels that a forest learns from: more cost time and change little.
MOST = 20_000


class Growth(Scorer):
    """Fits a segmenter whose decoder is a forest: one epoch, and no gradients."""

    def __init__(
        self,
        segmenter: Segmenter,
        aim: Aim,
        held_out: list[Chip],
        classes: int,
        device: torch.device,
        settings: Settings,
    ) -> None:
        portion = Portion(settings.batch, lambda size: None)
        super().__init__(segmenter, held_out, classes, device, settings, portion)
        self.aim = aim

    def run(
        self,
        score: Callable[[NDArray[np.int64]], float],
        step: Callable[[float], None],
        epoch_done: Callable[[Progress], None],
    ) -> None:
        """Fit the forest and put it into the segmenter; see `Loop.run`."""
        started = time.monotonic()
        step(0.0)
        self.learn_all(self.aim)
        values_now: dict[str, float | None] = {"validation_loss": None, "validation_score": None}
        if self.held_out:
            confusion, loss = self.validate()
            values_now = {"validation_loss": loss, "validation_score": score(confusion)}
        self.progress.epoch = self.progress.best_epoch = 1
        self.progress.seconds = time.monotonic() - started
        self.progress.history.append({"train_loss": None, "learning_rate": None, **values_now})
        epoch_done(self.progress)

    def learn_all(self, aim: Aim, step: Callable[[], None] = lambda: None) -> None:
        """Fit the forest to the labels of ``aim``."""
        step()
        decoder = self.segmenter.decoder
        if not isinstance(decoder, ForestDecoder):
            raise TypeError("only a forest grows")
        places, classes, _ = aim.places(MOST)
        values = features_at(aim.samples, places, decoder.sides)
        forest = RandomForestClassifier(
            decoder.trees,
            max_leaf_nodes=(NODES + 1) // 2,
            max_depth=DEPTH,
            random_state=self.settings.seed,
            n_jobs=1,
        )
        forest.fit(values, classes)
        decoder.grow([tree.tree_ for tree in forest.estimators_], forest.classes_.tolist())
