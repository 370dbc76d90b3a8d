"""Score a map against reference polygons or a reference raster."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union

import numpy as np
import pyogrio
from numpy.typing import NDArray
from rasterio.windows import Window

from .data.burn import labelled_windows, rasterise
from .data.files import atomic_path, check_output
from .data.grid import Grid
from .data.imagery import Image
from .data.label_raster import CodeReader, category_names, colour_table, map_grid
from .data.labels import read_labels
from .data.vectors import fields_of, parse_source
from .errors import TilthError
from .jobs import EvaluateJob

_WINDOW = 1024
_MOST_CLASSES = 1000
_CODES = 65536

_GREY = "#888888"

_Key = Union[int, str]
ReadCodes = Callable[[Window], NDArray[np.uint16]]


def scores(confusion: NDArray[np.int64], classes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Accuracies from a confusion matrix [K, K] (rows: reference, columns: map).

    ``classes`` are K class entries (``name``, ``code``). A figure whose denominator is 0 is None.
    A class without a reference pixel has no F1 and no IoU and does not enter ``macro_f1`` and
    ``mean_iou``: it can't be judged here, though pixels wrongly given to it lower the figures of
    the classes that they belong to.
    """
    matrix = np.asarray(confusion, np.int64)
    hits, support, mapped = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    rows = []
    for index, entry in enumerate(classes):
        hit, there, given = int(hits[index]), int(support[index]), int(mapped[index])
        judged = there > 0
        rows.append(
            {
                "name": entry["name"],
                "code": entry["code"],
                "iou": hit / (there + given - hit) if judged else None,
                "f1": 2 * hit / (there + given) if judged else None,
                "users_accuracy": hit / given if given else None,
                "producers_accuracy": hit / there if judged else None,
                "support": there,
            }
        )
    judged_rows = [row for row in rows if row["support"]]
    total = int(matrix.sum())
    return {
        "overall_accuracy": int(hits.sum()) / total if total else None,
        "mean_iou": _mean([row["iou"] for row in judged_rows]),
        "macro_f1": _mean([row["f1"] for row in judged_rows]),
        "per_class": rows,
        "confusion": matrix.tolist(),
        "classes": [dict(entry) for entry in classes],
    }


def evaluate(job: EvaluateJob) -> dict[str, Any]:
    """Run the job; returns ``scores`` and what they rest on.

    Classes are matched by name where both sides have names, else by code. Reference pixels that
    are 0, nodata or negative are left out, and so are pixels that the map has nothing for. A
    reference in another coordinate system or on another grid is brought to the map's pixels.
    Raises TilthError where a file can't be used or where the two have no pixel in common.
    """
    suffix = Path(job.out).suffix.lower()
    if job.out and suffix not in (".json", ".html", ".htm"):
        raise TilthError(f"{job.out}: the report's name must end in .json or .html")
    if job.out:
        check_output(job.out)
    result = _compare(job)
    if suffix == ".json":
        with atomic_path(job.out) as beside:
            text = json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False)
            beside.write_text(text + "\n", encoding="utf-8")
    elif job.out:
        from .report import evaluation_report

        evaluation_report(job.out, result, job.map, job.reference)
    return result


@dataclass
class _Reference:
    """Reference codes on the map's pixels.

    ``names`` are the classes' names by code, ``worded`` whether they are more than numbers.
    ``codes`` are the map codes that they mean where names don't match (0: left out); None where
    they mean themselves. Words of a vector mean no code: there it is empty.
    """

    read: ReadCodes
    windows: Callable[[], Iterator[Window]]
    close: Callable[[], None]
    names: dict[int, str]
    worded: bool
    codes: dict[int, int] | None = None
    warnings: list[str] = field(default_factory=list)


def _compare(job: EvaluateJob) -> dict[str, Any]:
    grid = map_grid(job.map)
    reader = CodeReader(job.map, grid)
    try:
        reference = _open_reference(job, grid)
        try:
            pairs, unmapped = _count(reader, reference)
        finally:
            reference.close()
    finally:
        reader.close()
    if not pairs:
        raise TilthError(
            f"{job.reference}: none of its labelled pixels lies on the classified part of "
            f"{job.map}; check that they show the same place"
        )
    return _result(job, pairs, unmapped, reference)


def _open_reference(job: EvaluateJob, grid: Grid) -> _Reference:
    if _is_vector(job.reference):
        if not job.class_field:
            raise TilthError(
                f"{job.reference}: name the field that has the class (--class-field); its fields "
                f"are {', '.join(fields_of(job.reference)) or 'none'}"
            )
        return _vector_reference(job)
    return _raster_reference(job.reference, grid)


def _is_vector(source: str) -> bool:
    path, options = parse_source(source)
    if options:
        return True
    try:
        layers = pyogrio.list_layers(path)
    except (RuntimeError, ValueError):
        return False
    # A geopackage may hold rasters alone.
    return len(layers) > 0


def _vector_reference(job: EvaluateJob) -> _Reference:
    image = Image.open([job.map])
    try:
        labels = read_labels(
            job.reference, job.class_field, [image], points=True, minimum_classes=1
        )
    finally:
        image.close()
    # The codes in `labels` are 1..K where the values can't be codes; what counts is the values.
    numbers = {entry.code: _whole(entry.value) for entry in labels.classes}
    worded = any(number is None for number in numbers.values())
    return _Reference(
        lambda window: rasterise(labels, 0, window)[0],
        lambda: labelled_windows(labels, 0),
        lambda: None,
        {entry.code: entry.value for entry in labels.classes},
        worded,
        {} if worded else {code: max(number or 0, 0) for code, number in numbers.items()},
        [text for text in labels.warnings if "validated" not in text],
    )


def _raster_reference(path: str, grid: Grid) -> _Reference:
    reader = CodeReader(path, grid)
    names = category_names(path)
    return _Reference(
        lambda window: reader.read(*_box(window)),
        lambda: _tiles(grid),
        reader.close,
        names,
        bool(names),
    )


def _count(reader: CodeReader, reference: _Reference) -> tuple[dict[tuple[int, int], int], int]:
    """How often each (reference code, map code) occurs, and labelled pixels the map lacks."""
    pairs: dict[tuple[int, int], int] = {}
    unmapped = 0
    for window in reference.windows():
        truth = reference.read(window)
        labelled = truth > 0
        if not labelled.any():
            continue
        mapped = reader.read(*_box(window))
        unmapped += int(np.count_nonzero(labelled & (mapped == 0)))
        both = labelled & (mapped > 0)
        key = truth[both].astype(np.int64) * _CODES + mapped[both]
        for value, count in zip(*np.unique(key, return_counts=True), strict=True):
            place = (int(value) // _CODES, int(value) % _CODES)
            pairs[place] = pairs.get(place, 0) + int(count)
    return pairs, unmapped


def _result(
    job: EvaluateJob, pairs: dict[tuple[int, int], int], unmapped: int, reference: _Reference
) -> dict[str, Any]:
    found = sorted({code for code, _ in pairs})
    names = category_names(job.map)
    target = _match_by_name(found, reference, names)
    how = "name" if target else "code"
    target = target or _match_by_code(job, found, reference, names)
    counted: Counter[tuple[_Key, int]] = Counter()
    for (truth, mapped), count in pairs.items():
        if target[truth]:
            counted[target[truth], mapped] += count
    if not counted:
        raise TilthError(f"{job.reference}: all its pixels are 0 or negative; nothing to score")
    keys: set[_Key] = {truth for truth, _ in counted} | {mapped for _, mapped in counted}
    keys |= set(names)
    if len(keys) > _MOST_CLASSES:
        raise TilthError(f"{job.map}: it has {len(keys)} classes; is it a class map?")
    told = {**(reference.names if how == "code" and reference.codes is None else {}), **names}
    classes, index = _classes(keys, told, colour_table(job.map))
    matrix = np.zeros((len(classes), len(classes)), np.int64)
    for (key, mapped), count in counted.items():
        matrix[index[key], index[mapped]] += count
    warnings = list(reference.warnings)
    if unmapped:
        warnings.append(f"{unmapped} reference pixels lie where the map has nothing; left out")
    return {
        **scores(matrix, classes),
        "matched_by": how,
        "pixels": int(matrix.sum()),
        "unmapped": unmapped,
        "warnings": warnings,
    }


def _match_by_name(
    found: Sequence[int], reference: _Reference, names: dict[int, str]
) -> dict[int, _Key]:
    """What each reference code means, by name: a code of the map, or the name itself where only
    the reference has the class. Empty where names don't tell.

    Reference values that are numbers count as names only where every one of them is the name of
    a class of the map.
    """
    codes = {name: code for code, name in sorted(names.items(), reverse=True)}
    # "water" is "Water", but not where the map has both.
    folded = {_fold(name): code for name, code in codes.items()}
    own = {code: reference.names.get(code, str(code)) for code in found}
    meant = {code: codes.get(name, folded.get(_fold(name))) for code, name in own.items()}
    known = [code is not None for code in meant.values()]
    if not any(known) or not (reference.worded or all(known)):
        return {}
    # Spellings of a class that the map lacks are one, too.
    spelt = {_fold(name): name for name in sorted(own.values(), reverse=True)}
    return {code: spelt[_fold(own[code])] if key is None else key for code, key in meant.items()}


def _match_by_code(
    job: EvaluateJob, found: Sequence[int], reference: _Reference, names: dict[int, str]
) -> dict[int, _Key]:
    """What each reference code means, by number; 0 is left out."""
    if reference.codes is None:
        return {code: code for code in found}
    if not reference.codes:
        theirs = ", ".join(reference.names.values())
        ours = (
            f"the map's classes are {', '.join(names.values())}"
            if names
            else ("the map's classes have no names")
        )
        raise TilthError(
            f"{job.reference}: its classes ({theirs}) can't be matched, since {ours}; give a "
            "field that holds the map's names or codes"
        )
    return {code: reference.codes[code] for code in found}


def _classes(
    keys: set[_Key], names: dict[int, str], colours: dict[int, str]
) -> tuple[list[dict[str, Any]], dict[_Key, int]]:
    """Class entries, by code and then those that only the reference has; their positions."""
    codes = sorted(key for key in keys if isinstance(key, int))
    others = sorted(key for key in keys if isinstance(key, str))
    entries = [
        {"code": code, "name": names.get(code, str(code)), "colour": colours.get(code, _GREY)}
        for code in codes
    ]
    first = max(codes, default=0) + 1
    for code, name in enumerate(others, first):
        entries.append({"code": code, "name": name, "colour": _GREY})
    ordered: list[_Key] = [*codes, *others]
    return entries, {key: position for position, key in enumerate(ordered)}


def _tiles(grid: Grid) -> Iterator[Window]:
    for row in range(0, grid.height, _WINDOW):
        for col in range(0, grid.width, _WINDOW):
            yield Window(col, row, min(_WINDOW, grid.width - col), min(_WINDOW, grid.height - row))


def _box(window: Window) -> tuple[int, int, int, int]:
    return int(window.col_off), int(window.row_off), int(window.width), int(window.height)


def _whole(text: str) -> int | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return int(number) if number.is_integer() else None


def _fold(name: str) -> str:
    return name.strip().casefold()


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
