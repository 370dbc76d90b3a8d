"""The training loop: a frozen backbone, its adapter and the decoder on drawn labels."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ..devices import mixed_precision
from ..memory import Portion
from ..model.decoders.image_branch import ImageBranch, branches_of
from ..model.decoders.linear import LinearDecoder
from ..model.decoders.local import SIDES
from ..model.decoders.slim import SlimDecoder
from ..model.segmenter import Segmenter
from . import linear_start, trust
from .aim import Aim, turned
from .augment import spectral_jitter
from .average import Average, put
from .losses import class_weights, restraint, weighted_loss
from .memory import chips_that_fit
from .neighbourhood import features_at
from .samples import Chip
from .schedule import schedule
from .scoring import IGNORE, Progress, Scorer, Settings, tensors
from .study import fit, study
from .teacher import Labelled, named_opinions, soft_labels
from .tokens import Tokens

# Held-out scores that differ by less say nothing.
TIE = 0.005
# Pixels that the spectral branch sees in a step.
PIXELS = 2048
# Steps in which it learns from the held-out labels, too, at the end.
LAST_STEPS = 400
# Labelled pixels whose surroundings are looked at.
MOST = 20_000
# The share of the chips that lie anywhere in the images.
ELSEWHERE = 0.25
# A run of fewer steps learns little: where its time allows no more, each step sees fewer chips.
FEWEST_STEPS = 60


class Loop(Scorer):
    """Trains a segmenter epoch by epoch; the averaged weights are what is scored and kept."""

    def __init__(
        self,
        segmenter: Segmenter,
        aim: Aim,
        held_out: list[Chip],
        classes: int,
        device: torch.device,
        settings: Settings,
        landscape: NDArray[np.float32] | None = None,
        elsewhere: Sequence[Chip] = (),
        told: Callable[[str], None] = lambda text: None,
        tokens: Tokens | None = None,
    ) -> None:
        """``landscape`` [N, F]: features of pixels from all over the images, labelled or not;
        ``elsewhere``: chips from all over the images, without labels.

        ``told`` hears when the device's memory takes fewer chips at a time than a batch has.
        """
        portion = Portion(settings.batch, lambda size: told(self._told(size)))
        super().__init__(segmenter, held_out, classes, device, settings, portion)
        self.tokens = tokens or Tokens(segmenter, device, settings.chip, settings.seconds)
        self.aim = aim
        self.batch = settings.batch
        drawn, seen = aim.pixels(), aim.sampled(settings.seed)
        self.weights = class_weights(drawn, seen, classes, settings.balance).to(device)
        self.earlier_trust = 1.0
        if self.branches is not None:  # an earlier adapter may have brought another
            self.earlier_trust = float(self.branches.trust)
            self.branches.trust.fill_(1.0)
        self.landscape = landscape
        self.elsewhere = elsewhere if self.branches is not None else ()
        self._look_at(aim)
        self.optimizer = _optimizer(segmenter, settings)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.average = Average(segmenter)
        self.best: dict[str, Tensor] = {k: v.clone() for k, v in self.average.values.items()}

    @property
    def branches(self) -> SlimDecoder | ImageBranch | None:
        """The decoder, where it has branches on single pixels."""
        return branches_of(self.segmenter.decoder)

    def _look_at(self, aim: Aim) -> None:
        """Take the single pixels that the spectral branch learns from."""
        table = aim.table()
        self.pixels = torch.from_numpy(table[0]), torch.from_numpy(table[1])

    def _study(self, aim: Aim, step: Callable[[], None]) -> None:
        """Let the local branch learn what the usual classifiers make of the landscape."""
        if self.branches is None:
            return
        branch, seed, bands = self.branches.distilled, self.settings.seed, aim.samples.bands
        labelled = self._labelled(aim)
        around = labelled.values[:0] if self.landscape is None else self.landscape
        named = named_opinions(branch)
        pixels, chances = soft_labels(
            labelled, around, bands, SIDES, self.classes, seed, step, named
        )
        table = torch.from_numpy(pixels), torch.from_numpy(chances)
        study(branch, *table, seed, self.settings.jitter, step)

    def _labelled(self, aim: Aim) -> Labelled:
        """Labelled pixels, with the plain backbone's tokens where the decoder looks at them."""
        places, classes, units = aim.places(MOST)
        local = features_at(aim.samples, places, SIDES)
        tokens = self.tokens.at(aim.samples, places, classes, aim.near, self.settings.seed)
        return Labelled(np.concatenate([local, tokens], 1), classes, units)

    def weigh(self, losses: trust.Losses) -> float:
        """Let what learns by gradients count as much as serves the held-out pixels; how much.

        Where nothing is held out, the number of polygons decides.
        """
        if self.branches is None:
            return 1.0
        chosen = self._untold_trust()
        if self.held_out:
            chosen = trust.by_held_out(self, self.branches, self.elsewhere, losses)
        # In half precision, as the file holds it, so that the score is that of the file.
        self.branches.trust.fill_(float(torch.tensor(chosen).half()))
        return chosen

    @property
    def classic_share(self) -> float:
        """As `Scorer.classic_share`: all that the network is not trusted with."""
        return 0.0 if self.branches is None else 1 - float(self.branches.trust)

    def learn_all(self, aim: Aim, step: Callable[[], None] = lambda: None) -> None:
        """Let the spectral and the local branch learn from all labels, once the score is known.

        ``aim`` has those that were held out, too. It takes seconds; the surroundings would need a
        whole training, and stay as they are.
        """
        if self.branches is None:
            return
        self._look_at(aim)
        self._study(aim, step)
        branch, settings = self.branches.spectral, self.settings
        generator = torch.Generator().manual_seed(settings.seed)
        fit(
            branch,
            lambda: self._spectral_loss(branch, generator),
            LAST_STEPS,
            settings.spectral_rate,
            settings.warm_up,
            settings.weight_decay,
            step,
        )

    @property
    def in_vain(self) -> bool:
        """Whether what is learnt by gradients won't count, however well it is learnt (`weigh`)."""
        return self.branches is not None and not self.held_out and self._untold_trust() == 0

    def _untold_trust(self) -> float:
        """The trust where nothing is held out: by the number of polygons, and what an earlier
        adapter earned with others is not lost."""
        chosen = trust.by_polygons(self.aim.polygons())
        return max(chosen, self.earlier_trust) if self.begun else chosen

    def fit_batch(self) -> None:
        """Find out how many chips the device takes at a time, before the training starts."""

        def step(chips: int) -> None:
            shape = (chips, self.pixels[0].shape[1], self.settings.chip, self.settings.chip)
            image = torch.zeros(shape, device=self.device)
            target = torch.zeros((chips, *shape[2:]), dtype=torch.long, device=self.device)
            self.segmenter.train()
            self._gradients(image.contiguous(memory_format=torch.channels_last), target, chips)
            self.optimizer.zero_grad(set_to_none=True)

        size = chips_that_fit(self.settings.batch, step, self.device)
        if size < self.settings.batch:
            self.portion.shrink(size)

    def run(
        self,
        score: Callable[[NDArray[np.int64]], float],
        step: Callable[[float], None],
        epoch_done: Callable[[Progress], None],
    ) -> None:
        """Train to the end and leave the best weights in the segmenter.

        ``score`` turns a confusion matrix [K, K] into the figure that picks the best epoch;
        ``step`` gets the share of the run that is done, at each batch; ``epoch_done`` is called
        after each epoch, when a checkpoint can be written.
        """
        if self.progress.epoch == 0:
            started = time.monotonic()
            self._study(self.aim, lambda: step(0.0))
            if isinstance(self.segmenter.decoder, LinearDecoder) and not self.begun:
                linear = (self.segmenter.decoder, self.aim, self.weights, self.settings)
                linear_start.begin(self.segmenter, *linear, lambda: step(0.0))
            self.average = Average(self.segmenter)
            self.progress.seconds = self.progress.began = time.monotonic() - started
        # However short the time is, the surroundings learn something.
        while self.progress.epoch == 0 or not self.finished():
            started, before = time.monotonic(), self.progress.seconds
            loss = self._epoch(step, started, before)
            values: dict[str, float | None] = {
                "train_loss": loss,
                "learning_rate": self.optimizer.param_groups[0]["lr"],
                "validation_loss": None,
                "validation_score": None,
            }
            self._judge(values, score)
            self.progress.epoch += 1
            self.progress.seconds = before + time.monotonic() - started
            self.progress.history.append(values)
            epoch_done(self.progress)
            # A large checkpoint takes its time, too.
            self.progress.seconds = before + time.monotonic() - started
        put(self.segmenter, self.best)

    def finished(self) -> bool:
        """Whether the run's epochs, its time or its patience are used up."""
        at, settings = self.progress, self.settings
        if settings.epochs is not None and at.epoch >= settings.epochs:
            return True
        if settings.seconds is not None and at.seconds >= settings.seconds:
            return True
        if settings.epochs is None and self.in_vain:
            return True
        return bool(self.held_out) and at.epoch - at.best_epoch >= settings.patience

    def share(self, epoch: float, seconds: float) -> float:
        """The share of the run that is done, by epochs or by time, whichever is further."""
        shares = [0.0]
        if self.settings.epochs is not None:
            shares.append(epoch / self.settings.epochs)
        if self.settings.seconds is not None:
            shares.append(seconds / self.settings.seconds)
        return min(max(shares), 1.0)

    def _epoch(self, step: Callable[[float], None], started: float, before: float) -> float:
        # Each epoch has its own seed, so that a resumed run draws what the first would have.
        entropy = [self.settings.seed, self.progress.epoch]
        rng = np.random.default_rng(entropy)
        seed = int(rng.integers(2**62))
        generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        self.segmenter.train()
        losses = []
        for batch in range(self.settings.steps):
            now = time.monotonic()
            seconds = before + now - started
            done = self.share(self.progress.epoch + batch / self.settings.steps, seconds)
            step(done)
            self._set_rates(done)
            losses.append(self._step([self._drawn(rng) for _ in range(self.batch)], generator))
            if batch == 1:  # the first warms up
                self._keep_pace(time.monotonic() - now)
            if self.settings.seconds is not None and seconds > self.settings.seconds:
                break
        return float(np.mean(losses))

    def _drawn(self, rng: np.random.Generator) -> Chip:
        """A chip around a labelled pixel, or now and then one from anywhere.

        Of that the network learns what the local branch says (`restraint`): where no polygon is
        near, its surroundings would else be a guess.
        """
        if self.elsewhere and rng.random() < ELSEWHERE:
            place = int(rng.integers(len(self.elsewhere)))
            return turned(self.elsewhere[place], int(rng.integers(8)))
        return self.aim.draw(rng)

    def _keep_pace(self, seconds: float) -> None:
        """Let later steps see fewer chips where steps of so many seconds are too few in a run."""
        limit = self.settings.seconds
        if limit is not None and self.settings.paced:
            wanted = int(self.batch * limit / (FEWEST_STEPS * max(seconds, 1e-9)))
            self.batch = max(1, min(self.batch, wanted))

    def _step(self, chips: list[Chip], generator: torch.Generator) -> float:
        image, target = tensors(chips, self.device)
        image = spectral_jitter(image, generator, self.settings.jitter)
        loss = self.portion.run(lambda size: self._gradients(image, target, size))
        if self.branches is not None:
            spectral = self._spectral_loss(self.branches.spectral, generator)
            spectral.backward()  # type: ignore[no-untyped-call]
            loss += float(spectral.detach())
        torch.nn.utils.clip_grad_norm_(
            [p for group in self.optimizer.param_groups for p in group["params"]], 1.0
        )
        self.optimizer.step()
        self.average.update(self.segmenter)
        return loss

    def _gradients(self, image: Tensor, target: Tensor, size: int) -> float:
        """Leave a batch's gradients, summed over parts of ``size`` chips; returns its loss.

        Each part counts by the weight of its labelled pixels, so that the batch is the same in
        however many parts it comes.
        """
        self.optimizer.zero_grad(set_to_none=True)
        known = target[target != IGNORE]
        whole = self.weights[known].sum().clamp(min=1e-12)
        unlabelled = max(target.numel() - len(known), 1)
        total = torch.zeros((), device=self.device)
        for part, labels in zip(image.split(size), target.split(size), strict=True):
            with mixed_precision(self.device):
                logits = self.segmenter.surroundings(part)
            loss = weighted_loss(logits.float(), labels, self.weights) / whole
            if self.branches is not None:
                held = restraint(self.segmenter, part, logits.float(), labels)
                loss = loss + held / unlabelled
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return float(total)

    def _spectral_loss(self, branch: nn.Module, generator: torch.Generator) -> Tensor:
        """The loss of the spectral branch on single pixels, drawn in the shares of the labels.

        It learns by itself: in one sum with the U-Net, the surroundings would explain away what
        the spectrum could have learnt, and mislead where the next region looks different.
        """
        pixels, targets = self.pixels
        picked = torch.randint(len(targets), (PIXELS,), generator=generator)
        values, target = pixels[picked].to(self.device), targets[picked].to(self.device)
        image = spectral_jitter(values[:, :, None, None], generator, self.settings.jitter)
        # As one image of a single column: one product of matrices, faster than many images.
        column = image.permute(2, 1, 0, 3)
        return F.cross_entropy(branch(column)[0, :, :, 0].T, target)

    def _judge(
        self, values: dict[str, float | None], score: Callable[[NDArray[np.int64]], float]
    ) -> None:
        """Score the averaged weights on the held-out chips; keep them if they are the best."""
        if not self.held_out:
            self.best = {name: value.clone() for name, value in self.average.values.items()}
            self.progress.best_epoch = self.progress.epoch + 1
            return
        with self.average.applied(self.segmenter):
            confusion, loss = self.validate()
        value = score(confusion)
        values["validation_loss"], values["validation_score"] = loss, value
        if better(value, loss, self.progress.best_score, self.progress.best_loss):
            # Else ties in turn could lead down, each a little below the last.
            self.progress.best_score = max(value, self.progress.best_score)
            self.progress.best_loss = loss
            self.progress.best_epoch = self.progress.epoch + 1
            self.best = {name: tensor.clone() for name, tensor in self.average.values.items()}

    def _told(self, size: int) -> str:
        return (
            f"the memory of {self.device} takes {size} of the {self.settings.batch} chips of a "
            "step at a time; the training goes on with the same batch, in parts"
        )

    def _set_rates(self, done: float) -> None:
        began = self.share(0.0, self.progress.began)
        factor = schedule((done - began) / max(1 - began, 1e-9), self.settings.warm_up)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor


def better(score: float, loss: float, best_score: float, best_loss: float) -> bool:
    """Whether an epoch is better than the best so far: by score, and by loss where scores tie.

    A handful of held-out polygons is soon all right, long before the map is.
    """
    if abs(score - best_score) <= TIE:
        return loss < best_loss
    return score > best_score


def _optimizer(segmenter: Segmenter, settings: Settings) -> torch.optim.Optimizer:
    rates: dict[float, list[nn.Parameter]] = {}
    for name, parameter in segmenter.named_parameters():
        if parameter.requires_grad:
            rate = settings.decoder_rate
            if isinstance(segmenter.decoder, LinearDecoder):
                rate *= linear_start.CALM
            if name.startswith("backbone."):
                rate = settings.learning_rate
            elif name.startswith("decoder.spectral"):
                rate = settings.spectral_rate
            elif name.startswith("decoder.distilled"):  # it has learnt before (study.py)
                continue
            rates.setdefault(rate, []).append(parameter)
    groups = [{"params": parameters, "lr": rate} for rate, parameters in rates.items()]
    return torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
