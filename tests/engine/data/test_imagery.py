"""Images: values, gaps, bands, stacks and odd files."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.transform import Affine
from rasterio.windows import Window
from tilth_engine.data.imagery import Image
from tilth_engine.data.label_raster import CodeReader
from tilth_engine.data.opening import open_images, open_matching
from tilth_engine.errors import TilthError

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

RNG = np.random.default_rng(5)


def ramp(bands=3, height=12, width=16, dtype="uint16", start=1):
    size = bands * height * width
    return np.arange(start, start + size).reshape(bands, height, width).astype(dtype)


def whole(image):
    return image.read(Window(0, 0, image.width, image.height))


def write_vrt(path, source, size, transform, bands):
    """A virtual raster of a file's bands: of each its type, and further elements."""
    text = "".join(
        f"<VRTRasterBand dataType='{kind}' band='{n}'>{more}<SimpleSource><SourceFilename>"
        f"{source}</SourceFilename><SourceBand>{n}</SourceBand></SimpleSource></VRTRasterBand>"
        for n, (kind, more) in enumerate(bands, 1)
    )
    path.write_text(
        f"<VRTDataset rasterXSize='{size[0]}' rasterYSize='{size[1]}'><SRS>EPSG:32632</SRS>"
        f"<GeoTransform>{transform}</GeoTransform>{text}</VRTDataset>"
    )
    return str(path)


def test_values_come_in_the_files_own_units(make_raster):
    values = ramp()
    with Image.open([make_raster("a.tif", values)]) as image:
        got, valid = image.read(Window(2, 1, 5, 4))
        assert got.dtype == np.float32 and valid.all()
        assert np.array_equal(got, values[:, 1:5, 2:7])
        assert (image.width, image.height, image.count) == (16, 12, 3)
        assert image.crs == CRS.from_epsg(32632) and image.resolution_m == 10.0
        assert not image.can_have_gaps


def test_a_window_beyond_the_edge_is_padded_with_invalid_zeros(make_raster):
    with Image.open([make_raster("a.tif", ramp())]) as image:
        got, valid = image.read(Window(-2, 10, 6, 6))
        assert got.shape == (3, 6, 6)
        assert valid.sum() == 4 * 2 and valid[:2, 2:].all()
        assert not got[:, ~valid].any()
        assert np.array_equal(valid, image.valid(Window(-2, 10, 6, 6)))
        far, nothing = image.read(Window(100, 100, 4, 4))
        assert not nothing.any() and not far.any()
        with pytest.raises(TilthError, match="outside the image"):
            image.read(Window(-2, 10, 6, 6), boundless=False)


def test_bands_are_picked_and_ordered(make_raster):
    path = make_raster("a.tif", ramp())
    with Image.open([path], bands=[3, 1]) as image:
        assert np.array_equal(whole(image)[0], ramp()[[2, 0]])
    with pytest.raises(TilthError, match="band 4 is wanted, but it has 3: Band 1, Band 2, Band 3"):
        Image.open([path], bands=[4])


@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "int16", "uint16", "int32", "uint32", "float32", "float64"]
)
def test_types(make_raster, dtype):
    values = ramp(1, 4, 5, dtype)
    with Image.open([make_raster("a.tif", values)]) as image:
        assert np.array_equal(whole(image)[0], values.astype(np.float32))


def test_nodata_of_one_band_makes_the_pixel_invalid_and_zero(make_raster):
    values = ramp()
    values[1, 3, 4] = 65535
    with Image.open([make_raster("a.tif", values, nodata=65535)]) as image:
        got, valid = whole(image)
        assert np.argwhere(~valid).tolist() == [[3, 4]]
        assert not got[:, 3, 4].any()


def test_zero_as_nodata_needs_all_bands(make_raster):
    values = ramp(dtype="uint8") % 200 + 1
    values[:, 2, 2] = 0
    values[0, 5, 5] = 0  # a shadow
    with Image.open([make_raster("a.tif", values, nodata=0, photometric="RGB")]) as image:
        assert np.argwhere(~whole(image)[1]).tolist() == [[2, 2]]


def test_nan_and_infinity_without_nodata(make_raster):
    values = ramp(dtype="float32")
    values[0, 1, 1], values[2, 2, 2], values[1, 3, 3] = np.nan, np.inf, -9.2e18
    with Image.open([make_raster("a.tif", values)]) as image:
        got, valid = whole(image)
        assert np.argwhere(~valid).tolist() == [[1, 1], [2, 2], [3, 3]]
        assert np.isfinite(got).all() and not got[:, ~valid].any()


def test_a_rounded_float_nodata(make_raster):
    values = ramp(1, dtype="float32")
    values[0, 0, 0] = -3.4028234e38
    with Image.open([make_raster("a.tif", values, nodata=-3.4e38)]) as image:
        assert np.argwhere(~whole(image)[1]).tolist() == [[0, 0]]


def test_nodata_that_the_type_cannot_hold(make_raster, tmp_path):
    path = make_raster("a.tif", ramp(1, dtype="uint8"))
    vrt = tmp_path / "a.vrt"
    vrt.write_text(
        "<VRTDataset rasterXSize='16' rasterYSize='12'><VRTRasterBand dataType='Byte' band='1'>"
        "<NoDataValue>-9999</NoDataValue><SimpleSource><SourceFilename>"
        f"{path}</SourceFilename><SourceBand>1</SourceBand></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )
    with Image.open([str(vrt)]) as image:
        assert whole(image)[1].all()


def test_nodata_by_band(make_raster, tmp_path):
    values = ramp(2, 12, 16)
    values[0, 0, 0], values[1, 1, 1], values[1, 2, 2] = 7777, 8888, 7777
    path = make_raster("a.tif", values)
    bands = "".join(
        f"<VRTRasterBand dataType='UInt16' band='{n}'><NoDataValue>{v}</NoDataValue><SimpleSource>"
        f"<SourceFilename>{path}</SourceFilename><SourceBand>{n}</SourceBand></SimpleSource>"
        "</VRTRasterBand>"
        for n, v in ((1, 7777), (2, 8888))
    )
    vrt = tmp_path / "a.vrt"
    vrt.write_text(f"<VRTDataset rasterXSize='16' rasterYSize='12'>{bands}</VRTDataset>")
    with Image.open([str(vrt)]) as image:
        assert np.argwhere(~whole(image)[1]).tolist() == [[0, 0], [1, 1]]


def test_bands_of_several_types(make_raster, tmp_path):
    path = make_raster("a.tif", ramp(2).astype(np.float32) + 0.5)
    bands = [("Byte", "<NoDataValue>7</NoDataValue>"), ("Float32", "")]
    vrt = write_vrt(tmp_path / "a.vrt", path, (16, 12), "500000,10,0,5000000,0,-10", bands)
    with Image.open([vrt]) as image:
        got, valid = whole(image)
        assert got[0, 0, 1] == 3 and got[1, 0, 0] == 193.5
        assert (~valid).sum() == 1 and not valid[0, 5]  # 6.5 as a byte


def test_a_stack_with_a_band_of_bytes_is_not_all_bytes(make_raster):
    first = make_raster("slope.tif", ramp(1, dtype="uint8"))
    second = make_raster("s2.tif", np.full((2, 12, 16), 2500, np.uint16))
    with Image.open([first, second], stack=True) as image:
        assert image.scale.kind == "reflectance10000"


def test_a_table_of_colours_beside_other_bands_is_no_palette(make_raster, tmp_path):
    path = make_raster("a.tif", ramp(2, dtype="uint8"))
    table = (
        "<ColorInterp>Palette</ColorInterp><ColorTable><Entry c1='0' c2='0' c3='0' c4='255'/>"
        "</ColorTable>"
    )
    bands = [("Byte", table), ("Byte", "")]
    vrt = write_vrt(tmp_path / "a.vrt", path, (16, 12), "500000,10,0,5000000,0,-10", bands)
    with Image.open([vrt]) as image:
        assert np.array_equal(whole(image)[0], ramp(2, dtype="uint8"))


def test_a_mask_band(make_raster):
    mask = np.full((12, 16), 255, np.uint8)
    mask[4:6, 3] = 0
    path = make_raster("a.tif", ramp(), finish=lambda dataset: dataset.write_mask(mask))
    with Image.open([path]) as image:
        assert np.array_equal(whole(image)[1], mask > 0)


def test_alpha_is_a_mask_and_no_band(make_raster):
    values = ramp(4, dtype="uint8")
    values[3] = 255
    values[3, :3] = 0
    path = make_raster("a.tif", values, photometric="RGB", alpha="YES")
    with Image.open([path]) as image:
        assert [band.name for band in image.bands] == ["Red", "Green", "Blue"]
        got, valid = whole(image)
        assert not valid[:3].any() and valid[3:].all()
        assert np.array_equal(got[:, 3:], values[:3, 3:])


def test_infrared_that_gdal_tags_as_alpha_stays_a_band(make_raster):
    values = RNG.integers(20, 200, (4, 30, 30)).astype(np.uint8)
    path = make_raster("a.tif", values)
    with rasterio.open(path) as dataset:
        assert dataset.colorinterp[3] == ColorInterp.alpha  # GDAL's own default
    with Image.open([path]) as image:
        assert image.count == 4 and image.bands[3].wavelength_nm == 840.0
        assert any("transparency" in text for text in image.warnings)
        assert whole(image)[1].all()


def test_a_palette_is_expanded(make_raster):
    values = RNG.integers(0, 3, (10, 10)).astype(np.uint8)
    table = {0: (0, 0, 0, 0), 1: (10, 20, 30, 255), 2: (200, 100, 50, 255)}
    # A GeoTIFF keeps no transparency in its colour table, but nodata.
    path = make_raster("a.tif", values, nodata=0, finish=lambda d: d.write_colormap(1, table))
    with Image.open([path]) as image:
        assert [band.name for band in image.bands] == ["Red", "Green", "Blue"]
        got, valid = whole(image)
        assert np.array_equal(valid, values > 0)
        assert got[:, values == 2].T.tolist() == [[200, 100, 50]] * int((values == 2).sum())


def test_complex_values_are_refused(make_raster):
    path = make_raster("a.tif", np.ones((1, 4, 4), np.complex64))
    with pytest.raises(TilthError, match=r"a\.tif: its values are complex.*complex64"):
        Image.open([path])


def test_missing_file_and_no_raster(tmp_path):
    with pytest.raises(TilthError, match=r"no\.tif: the image does not exist"):
        Image.open([str(tmp_path / "no.tif")])
    text = tmp_path / "text.tif"
    text.write_text("hello")
    with pytest.raises(TilthError, match=r"text\.tif: it can't be opened as an image"):
        Image.open([str(text)])
    with pytest.raises(TilthError, match="nothing given"):
        Image.open([])


def test_a_damaged_file_says_so(make_raster):
    values = RNG.integers(0, 60000, (1, 300, 300)).astype(np.uint16)
    path = make_raster(
        "a.tif", values, compress="deflate", tiled=True, blockxsize=64, blockysize=64
    )
    with Path(path).open("r+b") as file:
        file.seek(20000)
        file.write(b"\0" * 20000)
    with Image.open([path]) as image, pytest.raises(TilthError, match="the file is damaged"):
        whole(image)


def test_a_damaged_image_with_transparency_says_so(make_raster):
    values = RNG.integers(0, 255, (4, 300, 300)).astype(np.uint8)
    path = make_raster("a.tif", values, photometric="RGB", alpha="YES", compress="deflate")
    with Path(path).open("r+b") as file:
        file.truncate(20000)
    with pytest.raises(TilthError, match=r"a\.tif: the file is damaged"):
        Image.open([path])


def test_no_crs(make_raster):
    with Image.open([make_raster("a.tif", ramp(), crs=None)]) as image:
        assert image.crs is None and image.georeferenced and image.resolution_m == 10.0
        assert any("no coordinate system" in text for text in image.warnings)


def test_no_georeference_lies_where_qgis_draws_it(make_raster):
    path = make_raster("a.tif", ramp(), crs=None, transform=None)
    with Image.open([path]) as image:
        assert image.bounds == (0, -12, 16, 0)
        assert np.isnan(image.resolution_m)
        assert any("no georeference" in text for text in image.warnings)


def test_an_image_placed_by_polynomials_alone_asks_to_be_orthorectified(make_raster, rpcs):
    path = make_raster("a.tif", ramp(), crs=None, transform=None, finish=rpcs)
    with Image.open([path]) as image:
        (told,) = (text for text in image.warnings if "georeference" in text)
        assert told.startswith(f"{path}: it has rational polynomial coefficients (RPC) and no")
        assert "gdalwarp -rpc: until then its pixels are taken as coordinates" in told
        assert image.by_rpc_alone
    with Image.open([make_raster("b.tif", ramp(), finish=rpcs)]) as image:
        assert not image.by_rpc_alone and not image.warnings


def test_rotated_and_south_up(make_raster):
    turned = Affine.translation(500000, 5000000) @ Affine.rotation(30) @ Affine.scale(10, -10)
    with Image.open([make_raster("a.tif", ramp(), transform=turned)]) as image:
        assert np.array_equal(whole(image)[0], ramp())
        assert image.resolution_m == pytest.approx(10)
    up = Affine(10, 0, 500000, 0, 10, 4999880)
    with Image.open([make_raster("b.tif", ramp(), transform=up)]) as image:
        assert image.bounds == (500000, 4999880, 500160, 5000000)
        assert np.array_equal(whole(image)[0], ramp())


def with_points(make_raster, name, values, shift=0.0, **options):
    """An image that only control points place: on ``make_raster``'s grid, sheared by ``shift``."""
    height, width = values.shape[-2:]
    points = [
        GroundControlPoint(row=r, col=c, x=500000 + 10 * c + shift * r, y=5000000 - 10 * r)
        for r in (0, height)
        for c in (0, width)
    ]
    crs = CRS.from_epsg(32632)
    path = make_raster(name, values, crs=None, transform=None, **options)
    with rasterio.open(path, "r+") as dataset:
        dataset.gcps = (points, crs)
    return path


def test_control_points_only(make_raster):
    with Image.open([with_points(make_raster, "a.tif", ramp())]) as image:
        assert image.crs == CRS.from_epsg(32632) and image.count == 3
        assert image.bounds == pytest.approx((500000, 4999880, 500160, 5000000))
        got, valid = whole(image)
        assert valid.all() and np.array_equal(got, ramp())


def _cleared(values, kind, nodata):
    """The file's options that make the upper 30 rows transparent, by an alpha band or a mask."""
    opaque = np.full(values.shape[1:], 255, np.uint8)
    opaque[:30] = 0
    if kind == "mask":
        return values, {"finish": lambda dataset: dataset.write_mask(opaque)}
    if kind == "alpha":
        values = np.concatenate([values, opaque[None].astype(values.dtype)])
        return values, {"alpha": "yes", "photometric": "rgb"}
    return values, {}


@pytest.mark.parametrize("nodata", [-9999, 0])
@pytest.mark.parametrize("kind", ["alone", "alpha", "mask"])
@pytest.mark.parametrize("stacked", [False, True])
def test_gaps_of_one_band_and_transparency_are_not_blended(make_raster, stacked, kind, nodata):
    values = np.full((3, 60, 60), 1000, np.int16)
    values[:, 40:50, 20:40] = nodata
    if nodata:
        values[1, 50:60, 20:40] = nodata
    values, options = _cleared(values, kind, nodata)
    if stacked:
        base = make_raster("base.tif", np.ones((90, 90), np.uint8))
        shifted = Affine(10, 0, 500103, 0, -10, 4999896)
        path = make_raster("a.tif", values, nodata=nodata, transform=shifted, **options)
        image = Image.open([base, path], stack=True)
    else:
        path = with_points(make_raster, "a.tif", values, 3.0, nodata=nodata, **options)
        image = Image.open([path])
    with image:
        got, valid = whole(image)
        assert image.count == 3 + stacked
        wanted = 60 * (60 if kind == "alone" else 30) - 20 * (20 if nodata else 10)
        assert np.unique(got[-3:, valid]).tolist() == [1000.0]
        assert valid.sum() * image.transform.a**2 / 100 == pytest.approx(wanted, rel=0.08)


def test_codes_and_palettes_with_control_points_are_not_blended(make_raster):
    values = np.ones((40, 40), np.uint8)
    values[:, 20:] = 9
    table = {1: (10, 20, 30, 255), 9: (200, 100, 50, 255)}
    path = with_points(
        make_raster, "a.tif", values, 3.0, finish=lambda dataset: dataset.write_colormap(1, table)
    )
    with Image.open([path]) as image:
        got, valid = whole(image)
        assert set(np.unique(got[0, valid])) == {10.0, 200.0}
        reader = CodeReader(path, image.grid)
        assert set(np.unique(reader.read(0, 0, image.width, image.height))) == {0, 1, 9}
        reader.close()


def test_infrared_tagged_as_alpha_is_not_lost_by_control_points(make_raster):
    values = RNG.integers(20, 200, (4, 30, 30)).astype(np.uint8)
    path = with_points(make_raster, "a.tif", values)
    with pytest.raises(TilthError, match=r"transparency.*control points; save it"):
        Image.open([path])


@pytest.mark.parametrize(
    ("crs", "transform", "expected"),
    [
        ("EPSG:4326", Affine(0.001, 0, 10, 0, -0.001, 60), 78.9),  # cos 60 halves one side
        ("EPSG:3857", Affine(10, 0, 1e6, 0, -10, 8399737.9), 5.0),  # 60 degrees north
        ("EPSG:2263", Affine(1, 0, 980000, 0, -1, 200000), 0.3048),  # US feet
        ("EPSG:32632", Affine(10, 0, 500000, 0, -10, 5000000), 10.0),
    ],
)
def test_ground_resolution(make_raster, crs, transform, expected):
    with Image.open([make_raster("a.tif", ramp(1), crs=crs, transform=transform)]) as image:
        assert image.resolution_m == pytest.approx(expected, rel=0.01)


def test_statistics_ignore_gaps_and_are_repeatable(make_raster):
    values = RNG.normal(100, 20, (2, 60, 60)).astype(np.float32)
    values[1] = 7
    values[:, :20] = -9999
    path = make_raster("a.tif", values, nodata=-9999)
    with Image.open([path]) as image, Image.open([path]) as again:
        mean, std = image.statistics()
        assert mean.dtype == np.float64
        assert mean == pytest.approx([100, 7], rel=0.02)
        assert std[0] == pytest.approx(20, rel=0.05) and std[1] == 1.0
        other = again.statistics()
        assert np.array_equal(mean, other[0]) and np.array_equal(std, other[1])


def test_statistics_shrug_off_a_few_wild_values(make_raster):
    values = RNG.normal(100, 20, (1, 100, 100)).astype(np.float32)
    values[0, 0, :10] = 1e6
    with Image.open([make_raster("a.tif", values)]) as image:
        assert image.statistics()[1][0] == pytest.approx(20, rel=0.1)


def test_statistics_of_a_sample(make_raster):
    values = RNG.normal(100, 20, (1, 400, 700)).astype(np.float32)
    with Image.open([make_raster("a.tif", values)]) as image:
        mean, std = image.statistics(max_pixels=10_000)
        assert mean[0] == pytest.approx(100, rel=0.02) and std[0] == pytest.approx(20, rel=0.05)


def test_statistics_find_a_small_valid_corner(make_raster):
    values = np.full((1, 500, 500), -1, np.float32)
    values[0, -3:, -9:] = np.arange(27).reshape(3, 9)
    with Image.open([make_raster("a.tif", values, nodata=-1)]) as image:
        assert image.statistics(max_pixels=10_000)[0][0] == pytest.approx(13)


def test_statistics_of_nothing(make_raster):
    values = np.full((2, 30, 30), np.nan, np.float32)
    with Image.open([make_raster("a.tif", values)]) as image:
        mean, std = image.statistics()
        assert mean.tolist() == [0, 0] and std.tolist() == [1, 1]
        assert image.scale.kind == "unknown"


def test_windows_tile_the_image(make_raster):
    with Image.open([make_raster("a.tif", ramp(1, 20, 20))]) as image:
        seen = np.zeros((20, 20), int)
        for w in image.windows(8):
            seen[w.row_off : w.row_off + w.height, w.col_off : w.col_off + w.width] += 1
        assert (seen == 1).all()


def fine_and_coarse(make_raster, **options):
    """A 10 m band, and a 20 m one that covers all but the last column of the first."""
    fine = ramp(1, 12, 16)
    coarse = ramp(1, 6, 7, start=1000)
    return (
        make_raster("s_B04.tif", fine),
        make_raster("s_B11.tif", coarse, transform=Affine(20, 0, 500000, 0, -20, 5e6), **options),
    )


def test_a_stack_comes_on_the_finest_grid(make_raster):
    fine, coarse = fine_and_coarse(make_raster)
    with Image.open([coarse, fine], stack=True) as image:
        assert [band.name for band in image.bands] == ["B11", "B4"]
        assert (image.width, image.height, image.resolution_m) == (16, 12, 10)
        got, valid = whole(image)
        assert np.array_equal(got[1][valid], ramp(1, 12, 16)[0][valid])
        assert valid[:, :14].all() and not valid[:, 14:].any()  # where the coarse one ends
        # Bilinear: between the centres of two coarse pixels, a quarter on from the first.
        assert got[0, 0, 1] == pytest.approx(1000.25, abs=0.51)
        assert got[0, 5, 5] == pytest.approx(1000 + 2 * 7 + 2 + 0.25 * 7 + 0.25, abs=3)


def test_a_stack_on_one_grid_keeps_the_values(make_raster):
    paths = [make_raster(f"b{n}.tif", ramp(1, start=n * 1000)) for n in (1, 2, 3)]
    with Image.open(paths, stack=True, bands=[3, 1]) as image:
        assert np.array_equal(whole(image)[0][:, 0, 0], [3000, 1000])


def test_a_shifted_extent_is_taken_pixel_by_pixel(make_raster):
    first = make_raster("a.tif", ramp(1))
    second = make_raster("b.tif", ramp(1), transform=Affine(10, 0, 500020, 0, -10, 4999970))
    with Image.open([first, second], stack=True) as image:
        got, valid = whole(image)
        assert np.array_equal(got[1, 3:, 2:], ramp(1)[0, :-3, :-2])
        assert valid[3:, 2:].all() and valid.sum() == 9 * 14


def test_a_stack_across_coordinate_systems(make_raster):
    first = make_raster("a.tif", np.full((1, 20, 20), 5, np.uint16))
    # Zone 33's false easting is 6 degrees east; the same ground lies far west in it.
    with rasterio.open(first) as dataset:
        left, bottom, right, top = rasterio.warp.transform_bounds(
            dataset.crs, "EPSG:32633", *dataset.bounds
        )
    other = Affine(10, 0, left - 100, 0, -10, top + 100)
    size = int((top - bottom) // 10) + 20, int((right - left) // 10) + 20
    second = make_raster(
        "b.tif", np.full((1, *size), 9, np.uint16), crs="EPSG:32633", transform=other
    )
    with Image.open([first, second], stack=True) as image:
        got, valid = whole(image)
        assert valid.all() and (got[1] == 9).all() and image.crs.to_epsg() == 32632


@pytest.mark.parametrize("dtype", ["float32", "uint16"])
def test_gaps_of_a_coarser_file_in_a_stack(make_raster, dtype):
    coarse = np.full((1, 6, 8), 50, dtype)
    gap = np.nan if dtype == "float32" else 0
    coarse[0, :2] = gap
    path = make_raster("c.tif", coarse, transform=Affine(20, 0, 500000, 0, -20, 5e6),
                       nodata=None if dtype == "float32" else 0)  # fmt: skip
    with Image.open([make_raster("f.tif", ramp(1)), path], stack=True) as image:
        got, valid = whole(image)
        assert valid[5:].all() and not valid[:3].any()
        assert set(np.unique(got[1])) <= {0.0, 50.0}  # nothing leaks from the gap


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_a_gap_of_one_band_leaks_into_no_pixel_of_a_stack(make_raster, dtype):
    coarse = np.full((2, 6, 7), 50, dtype)
    coarse[0, :2] = -9999
    path = make_raster("c.tif", coarse, transform=Affine(20, 0, 500000, 0, -20, 5e6), nodata=-9999)
    with Image.open([make_raster("f.tif", ramp(1)), path], stack=True) as image:
        got, valid = whole(image)
        assert set(np.unique(got[1:, valid])) == {50.0}
        # Where the gap is, and where the coarse file ends.
        assert valid[4:, :14].all() and not valid[:3].any() and not valid[:, 14:].any()


def test_gaps_by_several_values_leak_into_no_pixel_of_a_stack(make_raster, tmp_path):
    coarse = np.full((2, 6, 8), 50, np.int16)
    coarse[0, :2], coarse[1, 4:] = -9999, -32768
    path = make_raster("c.tif", coarse, transform=Affine(20, 0, 500000, 0, -20, 5e6))
    vrt = write_vrt(tmp_path / "c.vrt", path, (8, 6), "500000,20,0,5000000,0,-20",
                    [("Int16", "<NoDataValue>-9999</NoDataValue>"),
                     ("Int16", "<NoDataValue>-32768</NoDataValue>")])  # fmt: skip
    with Image.open([make_raster("f.tif", ramp(1)), vrt], stack=True) as image:
        got, valid = whole(image)
        assert set(np.unique(got[1:, valid])) == {50.0}
        assert valid[4:8].all() and not valid[:4].any() and not valid[8:].any()


def test_a_stack_of_several_files_needs_saying_so(make_raster):
    paths = [make_raster("a.tif", ramp(1)), make_raster("b.tif", ramp(1))]
    with pytest.raises(TilthError, match="stacked"):
        Image.open(paths)


def test_georeferenced_and_not_do_not_stack(make_raster):
    plain = make_raster("p.tif", ramp(1, 5, 5), crs=None, transform=None)
    with pytest.raises(TilthError, match="only one of them is georeferenced"):
        Image.open([make_raster("a.tif", ramp(1)), plain], stack=True)


def test_tiny_and_one_band(make_raster):
    with Image.open([make_raster("a.tif", ramp(1, 20, 20))]) as image:
        assert image.count == 1 and image.statistics()[1][0] > 1
    with Image.open([make_raster("b.tif", ramp(1, 1, 1))]) as image:
        assert whole(image)[0].shape == (1, 1, 1) and image.statistics()[1][0] == 1.0


def named(path, *names):
    with rasterio.open(path, "r+") as dataset:
        dataset.descriptions = names
    return path


def test_scenes_come_in_the_first_ones_band_order(make_raster):
    first = named(make_raster("a.tif", ramp()), "Blue", "Green", "Red")
    second = named(make_raster("b.tif", ramp()), "Red", "Green", "Blue")
    images = open_images([first, second])
    assert [band.name for band in images[1].bands] == ["Blue", "Green", "Red"]
    assert np.array_equal(whole(images[1])[0], ramp()[::-1])
    third = named(make_raster("c.tif", ramp(2)), "Red", "Green")
    with pytest.raises(TilthError, match=r"c\.tif: bands: the image lacks Blue"):
        open_images([first, third])
    with open_matching([second], images[0].bands, bands=[1, 2, 3]) as image:
        assert image.bands[0].name == "Red"  # what the user says goes


def test_reads_from_several_threads_agree(make_raster):
    values = RNG.integers(0, 9000, (3, 200, 200)).astype(np.uint16)
    path = make_raster("a.tif", values, tiled=True, blockxsize=64, blockysize=64, compress="lzw")
    wrong = []
    with Image.open([path]) as image:

        def work(seed):
            rng = np.random.default_rng(seed)
            for _ in range(30):
                col, row = (int(v) for v in rng.integers(0, 150, 2))
                got, _ = image.read(Window(col, row, 50, 50))
                if not np.array_equal(got, values[:, row : row + 50, col : col + 50]):
                    wrong.append((col, row))

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_reopen_gives_the_same_bands(make_raster):
    with Image.open([make_raster("a.tif", ramp())], bands=[2]) as image, image.reopen() as other:
        assert np.array_equal(whole(other)[0], ramp()[[1]])


@pytest.mark.parametrize("flat", [Affine(0, 0, 5e5, 0, -10, 5e6), Affine(1, 1, 5e5, 1, 1, 5e6)])
def test_a_broken_georeference(make_raster, flat):
    with pytest.raises(TilthError, match=r"georeference is broken|control points"):
        Image.open([make_raster("a.tif", ramp(), transform=flat)])
