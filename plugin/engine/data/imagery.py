"""Images: windows of values and of validity, never a whole raster in memory."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from rasterio.crs import CRS
from rasterio.transform import Affine
from rasterio.windows import Window

from ..errors import TilthError
from . import dates as times
from . import scale as scales
from .bands import Band, unique
from .grid import Grid
from .resolution import resolution
from .source import Source, open_source

_SAMPLE_VALUES = 20_000_000
_ENOUGH = 1000  # valid pixels that make a sample


class Image:
    """A multi-band raster: one file, or with ``stack`` the bands of several on one grid.

    ``width``, ``height``, ``crs`` (None where unknown), ``transform`` (pixel to map), ``count``,
    ``bands``, ``warnings``. Reads take a lock, so threads may share it; for speed give each
    reading thread its own (``reopen``).
    """

    def __init__(self, paths: Sequence[str], sources: list[Source], bands: Sequence[int]) -> None:
        self.paths = list(paths)
        self._sources = times.in_date_order(sources)
        self._grid = sources[0].grid
        self._lock = threading.Lock()
        self._samples: dict[int, np.ndarray] = {}
        self._scale: scales.Scale | None = None
        offered = [(one, index) for one in self._sources for index in range(len(one.bands))]
        named = unique([source.bands[index] for source, index in offered])
        self.selection = list(bands) or list(range(1, len(offered) + 1))
        if max(self.selection) > len(offered):
            raise TilthError(
                f"{self.name}: band {max(self.selection)} is wanted, but it has {len(offered)}: "
                + ", ".join(band.name for band in named)
            )
        self.bands: list[Band] = [named[number - 1] for number in self.selection]
        self._picks = [offered[number - 1] for number in self.selection]
        self.warnings = [line for source in sources for line in source.warnings]

    @staticmethod
    def open(paths: Sequence[str], *, stack: bool = False, bands: Sequence[int] = ()) -> Image:
        """Open one scene. ``bands`` are counted from 1 over the (stacked) image; empty means all.

        Stacked files are brought to the grid of the finest (the first of these); where a file
        does not reach, pixels are invalid. A series of dates is stacked in the order of time
        (see dates.py). Raises TilthError on files that can't be used.
        """
        if not paths:
            raise TilthError("images: nothing given; pick at least one image")
        if len(paths) > 1 and not stack:
            raise TilthError("images: several files are one image only where they are stacked")
        sources: list[Source] = []
        try:
            for path in paths:
                sources.append(open_source(str(path)))
            finest = min(sources, key=lambda source: round(resolution(source.grid), 6))
            _check_stack(sources, finest)
            sources = [source.on_grid(finest.grid) for source in sources]
            return Image(paths, sources, bands)
        except TilthError:
            for source in sources:
                source.close()
            raise

    def reopen(self) -> Image:
        """The same image opened once more, for another thread."""
        return Image.open(self.paths, stack=len(self.paths) > 1, bands=self.selection)

    @property
    def name(self) -> str:
        """The file's name, for people."""
        rest = f" and {len(self.paths) - 1} more" if len(self.paths) > 1 else ""
        return Path(self.paths[0]).name + rest

    @property
    def grid(self) -> Grid:
        """Coordinate system, affine and size together."""
        return self._grid

    @property
    def width(self) -> int:
        """Columns."""
        return self._grid.width

    @property
    def height(self) -> int:
        """Rows."""
        return self._grid.height

    @property
    def crs(self) -> CRS | None:
        """The coordinate system, None where unknown."""
        return self._grid.crs

    @property
    def transform(self) -> Affine:
        """From (column, row) of pixel corners to map coordinates."""
        return self._grid.transform

    @property
    def count(self) -> int:
        """How many bands are used."""
        return len(self.bands)

    @property
    def georeferenced(self) -> bool:
        """Whether the file says where it lies."""
        return self._sources[0].georeferenced

    @property
    def by_rpc_alone(self) -> bool:
        """Whether only polynomials place the image, which are not looked at."""
        return self._sources[0].by_rpc_alone

    @property
    def resolution_m(self) -> float:
        """Ground metres a pixel, at the image's centre; NaN without any georeference."""
        return resolution(self._grid) if self.georeferenced else math.nan

    @property
    def wavelengths(self) -> np.ndarray:
        """Centre wavelengths in nm, float64 [C], NaN where unknown."""
        return np.array(
            [math.nan if band.wavelength_nm is None else band.wavelength_nm for band in self.bands]
        )

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """xmin, ymin, xmax, ymax in the image's coordinates (of a rotated one, around it)."""
        return self._grid.bounds

    def times(self, given: Sequence[str] = ()) -> tuple[tuple[int, ...], tuple[str, ...]]:
        """The number of each band's date, and the dates (ISO); see `dates.frames_of`.

        ``given`` are dates that overrule what the files say, one for each in the order in which
        they were opened, or one for all. Raises TilthError where they make no sense.
        """
        days = [times.source_date(source) for source in self._sources]
        if given:
            told = times.checked(given, len(self.paths) if len(given) > 1 else 1)
            by_path = dict(zip(self.paths, told * (len(self.paths) // len(told)), strict=True))
            days = [by_path[source.path] for source in self._sources]
        files = [[s is owner for s in self._sources].index(True) for owner, _ in self._picks]
        bands = [owner.bands[index] for owner, index in self._picks]
        frames, dates = times.frames_of(files, bands, days)
        if len(set(given)) > 1 and not frames:
            raise TilthError(f"dates: the files of {self.name} have not all the same bands")
        return frames, dates

    @property
    def can_have_gaps(self) -> bool:
        """Whether some pixels may be invalid."""
        return any(source.can_have_gaps for source in self._sources)

    @property
    def scale(self) -> scales.Scale:
        """The recognised value scale (looks at a sample of the values)."""
        if self._scale is not None:
            return self._scale
        types = {one.dataset.dtypes[one.numbers[index] - 1] for one, index in self._picks}
        tags: dict[str, str] = {}
        for source in self._sources:
            origin = source.parents[0] if source.parents else source.dataset
            tags.update({key.lower(): value for key, value in origin.tags().items()})
        self._scale = scales.recognise(self.sample(), np.result_type(*types).name, tags)
        return self._scale

    def read(self, window: Window, boundless: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Values float32 [C, H, W] in the file's own units, and valid bool [H, W].

        Invalid pixels (nodata, not finite, masked, transparent, outside the image) are 0 in all
        bands. A window that reaches outside raises TilthError unless ``boundless``.
        """
        col, row, width, height = _integers(window)
        values = np.zeros((self.count, height, width), np.float32)
        valid = np.zeros((height, width), bool)
        inside = _intersection((col, row, width, height), self.width, self.height)
        if not boundless and inside != (col, row, width, height):
            raise TilthError(f"{self.name}: a window reaches outside the image")
        if inside is None:
            return values, valid
        c, r, w, h = inside
        part = (slice(r - row, r - row + h), slice(c - col, c - col + w))
        with self._lock:
            values[:, part[0], part[1]], valid[part] = self._read_inside(Window(c, r, w, h))
        values *= valid
        return values, valid

    def valid(self, window: Window) -> np.ndarray:
        """Which pixels of the window are measured: bool [H, W]; reads values only if it must."""
        if self.can_have_gaps:
            return self.read(window)[1]
        col, row, width, height = _integers(window)
        columns = np.arange(col, col + width)
        rows = np.arange(row, row + height)
        inside_x = (columns >= 0) & (columns < self.width)
        return ((rows >= 0) & (rows < self.height))[:, None] & inside_x[None]

    def _read_inside(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        shape = (int(window.height), int(window.width))
        values = np.empty((self.count, *shape), np.float32)
        valid = np.ones(shape, bool)
        for source in self._sources:
            places = [k for k, (owner, _) in enumerate(self._picks) if owner is source]
            if places:
                wanted = [self._picks[place][1] for place in places]
                part, measured = source.read(window, wanted)
                values[places] = part
                valid &= measured
        np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        return values, valid

    def windows(self, size: int = 1024) -> Iterator[Window]:
        """Windows of at most ``size`` pixels that tile the image, row by row."""
        for row in range(0, self.height, size):
            for col in range(0, self.width, size):
                yield Window(col, row, min(size, self.width - col), min(size, self.height - row))

    def statistics(self, max_pixels: int = 1_000_000) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each band, float64 [C], over valid pixels.

        From a sample spread evenly over the image; values beyond the 0.5 % at either end count as
        the value there, so that clouds and glints don't stretch the scale. A constant band has
        the standard deviation 1; without any valid pixel the result is 0 and 1.
        """
        sample = self.sample(max_pixels)
        if len(sample) == 0:
            return np.zeros(self.count), np.ones(self.count)
        low, high = np.percentile(sample, [0.5, 99.5], axis=0)
        mean, std = np.empty(self.count), np.empty(self.count)
        for band in range(self.count):
            column = np.clip(sample[:, band].astype(np.float64), low[band], high[band])
            if low[band] == high[band]:  # a rare signal on a constant ground still counts
                column = sample[:, band].astype(np.float64)
            mean[band], std[band] = column.mean(), column.std()
        std[~(std > 1e-9 * np.maximum(np.abs(mean), 1e-3))] = 1.0
        return mean, std

    def sample(self, max_pixels: int = 1_000_000) -> np.ndarray:
        """Valid values [N, C] from windows on an even grid; from all windows where these miss."""
        limit = max(10_000, min(max_pixels, _SAMPLE_VALUES // self.count))
        if limit in self._samples:
            return self._samples[limit]
        if self.width * self.height <= limit:
            sample, _ = self._collect(self.windows(512), limit)
        else:
            sample = self._sparse_sample(limit)
        self._samples[limit] = sample
        return sample

    def _sparse_sample(self, limit: int) -> np.ndarray:
        """Values from an even grid of windows; where valid pixels are rare, from a closer look."""
        for across in (8, 32, 128):
            sample, hits = self._collect(self._spread(across, limit), limit)
            if hits and len(sample) < _ENOUGH:
                sample, _ = self._collect(self._grown(hits, limit), limit)
            if len(sample) >= _ENOUGH:
                return sample
        return self._collect(self.windows(512), limit)[0]

    def _grown(self, windows: list[Window], limit: int) -> list[Window]:
        """Larger windows around some, inside the image, that hold ``limit`` pixels together."""
        side = max(1, int(math.sqrt(limit / len(windows))))
        width, height = min(side, self.width), min(side, self.height)
        grown = []
        for window in windows:
            col = window.col_off + window.width // 2 - width // 2
            row = window.row_off + window.height // 2 - height // 2
            col = min(max(col, 0), self.width - width)
            row = min(max(row, 0), self.height - height)
            grown.append(Window(col, row, width, height))
        return grown

    def _spread(self, across: int, limit: int) -> list[Window]:
        """About ``across`` squared windows, evenly spread, that hold ``limit`` pixels together."""
        side = max(1, int(math.sqrt(limit)) // across)
        ratio = math.sqrt(self.height / self.width)
        down = min(max(1, round(across * ratio)), across * across)
        over = max(1, across * across // down)
        width, height = min(self.width, side), min(self.height, side)
        rows = np.unique(np.linspace(0, self.height - height, down).astype(int))
        cols = np.unique(np.linspace(0, self.width - width, over).astype(int))
        return [Window(int(c), int(r), width, height) for r in rows for c in cols]

    def _collect(self, windows: Iterable[Window], limit: int) -> tuple[np.ndarray, list[Window]]:
        """Valid values [N, C] of windows until there are enough, and the windows that had some."""
        parts: list[np.ndarray] = [np.zeros((0, self.count), np.float32)]
        hits = []
        total = 0
        for window in windows:
            values, valid = self.read(window)
            if valid.any():
                hits.append(window)
                parts.append(values[:, valid].T)
                total += len(parts[-1])
            if total >= limit:
                break
        return np.concatenate(parts), hits

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            for source in self._sources:
                source.close()

    def __enter__(self) -> Image:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_stack(sources: Sequence[Source], finest: Source) -> None:
    for source in sources:
        if source.georeferenced != finest.georeferenced and not source.grid.same_pixels(
            finest.grid
        ):
            raise TilthError(
                f"{source.path}: it can't be stacked with {finest.path}, since only one of them "
                "is georeferenced"
            )


def _integers(window: Window) -> tuple[int, int, int, int]:
    return (
        round(window.col_off),
        round(window.row_off),
        round(window.width),
        round(window.height),
    )


def _intersection(
    box: tuple[int, int, int, int], width: int, height: int
) -> tuple[int, int, int, int] | None:
    col, row, w, h = box
    left, top = max(col, 0), max(row, 0)
    right, bottom = min(col + w, width), min(row + h, height)
    return (left, top, right - left, bottom - top) if right > left and bottom > top else None
