"""How many times an image is enlarged for a backbone."""

from __future__ import annotations

from .card import Card

# Pixels of the image that a token should span each way: with larger tokens small objects vanish.
TOKEN = 4
# How much larger than in pre-training the enlarged chip may be: a chip of 64 at zoom 4 is 256.
LARGEST = 1.15


def zoom_for(card: Card, chip: int) -> float:
    """The zoom for chips of `chip` pixels: a token spans about four pixels of the image.

    It is less where the enlarged chip would be more than 1.15 times the size that the backbone
    was pre-trained at, and never below 1. A network in stages (a CNN, a windowed transformer) gets
    the image as it is: its finest map spans four pixels already.
    """
    if card.options.get("stages") or card.patch <= TOKEN:
        return 1.0
    return max(1.0, min(card.patch / TOKEN, LARGEST * card.native_size / chip))
