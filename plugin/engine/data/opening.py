"""Opening images whose bands have to be those of another: further scenes, and images to map."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import TilthError
from .bands import Band, match
from .imagery import Image
from .usual import usual_bands


def open_images(
    paths: Sequence[str], *, stack: bool = False, bands: Sequence[int] = ()
) -> list[Image]:
    """Several scenes with the same bands, or with ``stack`` one scene of several files.

    The bands of the second and later scenes are brought to the order of the first. Raises
    TilthError where a scene lacks a band of the first.
    """
    if stack or len(paths) <= 1:
        return [Image.open(paths, stack=stack, bands=bands)]
    images = [Image.open(paths[:1], bands=bands)]
    try:
        wanted = usual_bands(images[0])[0]
        for path in paths[1:]:
            images.append(open_matching([path], wanted, bands=bands))
    except TilthError:
        for image in images:
            image.close()
        raise
    return images


def open_matching(
    paths: Sequence[str],
    wanted: Sequence[Band],
    *,
    stack: bool = False,
    bands: Sequence[int] = (),
) -> Image:
    """Open a scene with its bands in the order of ``wanted``, however the file orders them.

    Where the file says nothing of its bands they are taken to be the usual ones. ``bands``
    (counted from 1) overrules the matching. Raises TilthError, naming both sides, where a band is
    missing.
    """
    image = Image.open(paths, stack=stack, bands=bands)
    if bands and len(bands) == len(wanted):
        return image
    try:
        order = match(wanted, usual_bands(image)[0])
    except TilthError as error:
        raise TilthError(f"{image.name}: {error}") from None
    finally:
        image.close()
    return Image.open(paths, stack=stack, bands=[image.selection[index] for index in order])
