"""The methods there are: what each is called, what it does, and its usual settings.

Read by both halves of Tilth. Standard library only, Python 3.9 syntax.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Tuple


@dataclass(frozen=True)
class About:
    """A method in words for people, and its usual settings.

    ``rate`` is the backbone's learning rate, 0 where nothing of the backbone learns. ``rank`` is
    the usual rank (OFT: the side of its blocks), 0 for a method that has none.
    """

    title: str
    summary: str
    rate: float
    rank: int = 0
    dropout: float = 0.0


# The rates follow the searches in arXiv 2504.17397 where it has the method, else the method's own
# paper, with short trainings in mind.
METHODS: Dict[str, About] = {
    "lora": About(
        "LoRA (a small adapter)",
        "Adds a low-rank change to the layers of every block. The first choice.",
        1e-3,
        16,
    ),
    "dora": About(
        "DoRA",
        "LoRA that learns direction and size of a weight apart: a little better, slower.",
        1e-3,
        16,
    ),
    "rslora": About(
        "rsLoRA",
        "LoRA whose strength does not fade at high ranks; for ranks of 32 and more.",
        3e-4,
        16,
    ),
    "pissa": About(
        "PiSSA",
        "LoRA that starts from the weights' main directions: learns faster. Twice LoRA's file.",
        5e-4,
        16,
    ),
    "olora": About(
        "OLoRA",
        "LoRA that starts from orthogonal directions of the weights. Twice LoRA's file.",
        5e-4,
        16,
    ),
    "loha": About(
        "LoHa",
        "A change made of products of two low-rank ones: a high rank from few numbers.",
        1e-3,
        8,
    ),
    "lokr": About(
        "LoKr",
        "A change made of Kronecker products: a fraction of LoRA's file.",
        2e-3,
        16,
    ),
    "hira": About(
        "HiRA",
        "A low-rank change multiplied with the weights: a high rank from LoRA's numbers.",
        2e-3,
        16,
    ),
    "delora": About(
        "DeLoRA",
        "LoRA whose change has a bounded size: forgiving of high learning rates.",
        2e-3,
        16,
    ),
    "gralora": About(
        "GraLoRA",
        "LoRA by blocks of the weights: local changes at the same number of parameters.",
        1e-3,
        16,
    ),
    "miss": About(
        "MiSS",
        "One small matrix a layer, shared by its shards: half of LoRA's parameters.",
        5e-4,
        16,
    ),
    "vera": About(
        "VeRA",
        "Fixed random directions, of which only strengths are learnt: very few parameters.",
        1e-2,
        256,
    ),
    "ia3": About(
        "(IA)3",
        "Learns only to strengthen or weaken channels: a file of some kilobytes.",
        1e-2,
    ),
    "oft": About(
        "OFT",
        "Turns the weights by small rotations, which keeps the angles between them.",
        1e-3,
        32,
    ),
    "bitfit": About(
        "BitFit (biases only)",
        "Trains the biases of the backbone and nothing else in it.",
        1e-3,
    ),
    "vpt": About(
        "Prompts (VPT-deep)",
        "Learnt tokens beside the image's in every block; the weights stay. Slower to run.",
        1e-3,
        dropout=0.1,
    ),
    "vit-adapter": About(
        "ViT-Adapter",
        "A convolutional branch that talks with the frozen backbone: fine detail, more memory.",
        5e-4,
    ),
    "frozen": About(
        "Decoder only",
        "The backbone stays as it is; the decoder learns to read it. Fast.",
        0.0,
    ),
    "probe": About(
        "Linear probe",
        "Frozen, and one linear layer instead of a decoder: shows what the backbone itself knows.",
        0.0,
    ),
    "full": About(
        "Full fine-tuning (large file)",
        "Trains every weight; the file holds the whole backbone.",
        1e-4,
    ),
}


@dataclass(frozen=True)
class Baseline:
    """What is trained without a pre-trained backbone, to see whether one is worth having.

    ``backbone``, ``method`` and ``decoder`` are what it comes to.
    """

    title: str
    summary: str
    backbone: str
    method: str
    decoder: str


BASELINES: Dict[str, Baseline] = {
    "alone": Baseline(
        "No backbone (Tilth's decoder)",
        "The default decoder on the image alone: fast, small, and often all that is needed.",
        "none",
        "frozen",
        "slim",
    ),
    "unet": Baseline(
        "U-Net from random weights",
        "The paper's baseline: a U-Net on a ResNet-50 that knows nothing at the start. Slow.",
        "unet-random",
        "full",
        "unet",
    ),
    "forest": Baseline(
        "Random forest",
        "A forest of 100 trees on each pixel's bands. Done in seconds.",
        "none",
        "frozen",
        "forest",
    ),
    "forest-neighbourhood": Baseline(
        "Random forest with neighbourhoods",
        "A forest that sees each band's mean and spread in squares of 3 and 5 pixels, too.",
        "none",
        "frozen",
        "forest-neighbourhood",
    ),
}

# In the order in which they are shown: the usual ones and a measure of the backbone itself, LoRA's
# kin, other small changes, and tokens or branches beside the backbone.
GROUPS: Tuple[Tuple[str, ...], ...] = (
    ("lora", "frozen", "full", "probe"),
    ("dora", "rslora", "pissa", "olora", "loha", "lokr", "hira", "delora", "gralora", "miss"),
    ("vera", "ia3", "oft", "bitfit"),
    ("vpt", "vit-adapter"),
)
