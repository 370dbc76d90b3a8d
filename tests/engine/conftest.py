"""The engine is imported from the clone, as the worker imports it: through launch.py.

Fixtures: small rasters and vectors made on the spot, and the scenes that lie beside the clone.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
runpy.run_path(str(ROOT / "plugin" / "engine" / "launch.py"))

UTM = "EPSG:32632"


@pytest.fixture
def make_raster(tmp_path: Path) -> Callable[..., str]:
    """Write a GeoTIFF and return its path: 10 m pixels, EPSG:32632, from (500000, 5000000) down.

    ``values`` are [C, H, W] or [H, W]. ``finish(dataset)`` may add tags, masks and the like.
    """
    import rasterio
    from rasterio.transform import Affine

    grid = Affine(10, 0, 500000, 0, -10, 5000000)

    def make(
        name: str,
        values: np.ndarray,
        *,
        crs: str | None = UTM,
        transform: Affine | None = grid,
        finish: Callable[[Any], None] | None = None,
        **options: Any,
    ) -> str:
        values = values[None] if values.ndim == 2 else values
        path = tmp_path / name
        profile = {
            "driver": "GTiff",
            "count": values.shape[0],
            "height": values.shape[1],
            "width": values.shape[2],
            "dtype": values.dtype,
            **options,
        }
        if crs is not None:
            profile["crs"] = crs
        if transform is not None:
            profile["transform"] = transform
        with rasterio.open(path, "w", **profile) as dataset:
            dataset.write(values)
            if finish:
                finish(dataset)
        return str(path)

    return make


@pytest.fixture
def rpcs() -> Callable[[Any], None]:
    """A ``finish`` for ``make_raster``: polynomials that place the raster somewhere."""
    from rasterio.rpc import RPC

    def finish(dataset: Any) -> None:
        one, zero = [1.0] + [0.0] * 19, [0.0] * 20
        dataset.rpcs = RPC(
            height_off=0, height_scale=1, lat_off=45, lat_scale=1, long_off=9, long_scale=1,
            line_off=6, line_scale=6, samp_off=8, samp_scale=8, line_num_coeff=zero,
            line_den_coeff=one, samp_num_coeff=zero, samp_den_coeff=one,
        )  # fmt: skip

    return finish


@pytest.fixture
def make_vector(tmp_path: Path) -> Callable[..., str]:
    """Write a GeoPackage of shapely geometries (or None, or WKB) and return its path.

    ``values`` go to the field ``field``; text, numbers, booleans or None.
    """
    import pyogrio
    import shapely

    def make(
        name: str,
        geometries: Sequence[Any],
        values: Sequence[Any],
        *,
        field: str = "class",
        crs: str | None = UTM,
        layer: str = "labels",
        kind: str = "Unknown",
        append: bool = False,
    ) -> str:
        path = tmp_path / name
        wkb = np.array(
            [g if g is None or isinstance(g, bytes) else shapely.to_wkb(g) for g in geometries],
            dtype=object,
        )
        text = any(isinstance(value, str) for value in values)
        empty = np.array([value is None for value in values])
        other = next((value for value in values if value is not None), None)
        column = (
            np.array(list(values), dtype=object)
            if text or empty.all()
            else np.array([type(other)() if value is None else value for value in values])
        )
        pyogrio.raw.write(
            path,
            wkb,
            [column],
            [field],
            field_mask=None if column.dtype == object else [empty],
            crs=crs,
            layer=layer,
            geometry_type=kind,
            driver="GPKG",
            append=append,
        )
        return str(path)

    return make


@pytest.fixture(scope="session")
def scenes() -> Path:
    """The folder of the real scenes; the test is skipped where it does not lie beside the clone."""
    folder = ROOT.parent / "shared" / "data" / "scenes"
    if not folder.is_dir():
        pytest.skip("the real scenes (../shared/data/scenes) are not here")
    return folder


@pytest.fixture(scope="session")
def weights() -> Path:
    """The folder of published weights; the test is skipped where it is not beside the clone."""
    folder = ROOT.parent / "shared" / "data" / "weights"
    if not folder.is_dir():
        pytest.skip("the published weights (../shared/data/weights) are not here")
    return folder


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A finished training on the small world of worlds.py, which all may look at."""
    from .worlds import Run, train_job

    folder = tmp_path_factory.mktemp("trained")
    return Run(train_job(folder, report=str(folder / "report.html"), name="Wasser & Wald"))


def pixel_box(left: float, top: float, right: float, bottom: float) -> Any:
    """A box given in pixels of ``make_raster``'s grid, in its map coordinates."""
    import shapely

    return shapely.box(
        500000 + 10 * left, 5000000 - 10 * bottom, 500000 + 10 * right, 5000000 - 10 * top
    )


@pytest.fixture
def box() -> Callable[..., Any]:
    """``pixel_box``, for tests."""
    return pixel_box
