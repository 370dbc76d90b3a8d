"""Raster layers as files that the engine can open."""

from __future__ import annotations

import math
import struct
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from zlib import compress, crc32

import pytest
from osgeo import gdal, osr
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeedback,
    QgsProject,
    QgsRasterDataProvider,
    QgsRasterLayer,
    QgsRasterRange,
)
from tilth.plugin.engine.errors import TilthError
from tilth.plugin.engine.jobs import Extent
from tilth.plugin.layers import imagery, raster_export

gdal.UseExceptions()
WIDTH, HEIGHT = 40, 30


def make(path, driver="GTiff", bands=2, kind=gdal.GDT_UInt16, epsg=32630, nodata=None, names=()):
    """A raster whose pixel at (column, row) of band b is 1000 b + row * WIDTH + column."""
    memory = gdal.GetDriverByName("MEM").Create("", WIDTH, HEIGHT, bands, kind)
    memory.SetGeoTransform((500000, 10, 0, 6000000, 0, -10))
    if epsg:
        system = osr.SpatialReference()
        system.ImportFromEPSG(epsg)
        memory.SetProjection(system.ExportToWkt())
    for number in range(1, bands + 1):
        band = memory.GetRasterBand(number)
        cells = [(1000 * number + cell) % (256 if kind == gdal.GDT_Byte else 65536)
                 for cell in range(WIDTH * HEIGHT)]  # fmt: skip
        band.WriteRaster(
            0, 0, WIDTH, HEIGHT, struct.pack(f"{len(cells)}H", *cells), buf_type=gdal.GDT_UInt16
        )
        if nodata is not None:
            band.SetNoDataValue(nodata)
        if number <= len(names):
            band.SetDescription(names[number - 1])
    gdal.GetDriverByName(driver).CreateCopy(str(path), memory)
    return path


def layer_of(path, name="image", provider="gdal"):
    layer = QgsRasterLayer(str(path), name, provider)
    assert layer.isValid()
    return layer


def files(layer, folder, **options):
    return imagery.snapshot([layer], **options).files(folder)


def cells(path, band=1):
    data = gdal.Open(str(path))
    count = data.RasterXSize * data.RasterYSize
    raw = data.GetRasterBand(band).ReadRaster(buf_type=gdal.GDT_Float64)
    return struct.unpack(f"{count}d", raw)


def test_local_files_pass_as_they_are(tmp_path):
    folder = tmp_path / "mit Leerzeichen für Täler"
    folder.mkdir()
    for driver, suffix in [("GTiff", "tif"), ("HFA", "img"), ("ENVI", "dat"), ("VRT", "vrt")]:
        path = make(folder / f"a.{suffix}", driver)
        layer = layer_of(path)
        assert imagery.why_export(layer) == "", driver
        assert files(layer, tmp_path) == [str(path)]
    for driver, suffix in [("PNG", "png"), ("JPEG", "jpg")]:
        path = make(folder / f"b.{suffix}", driver, bands=3, kind=gdal.GDT_Byte)
        assert files(layer_of(path), tmp_path) == [str(path)]
    assert not list(tmp_path.glob("*.tif"))


def test_archives_and_subdatasets_pass_as_they_are(tmp_path):
    path = make(tmp_path / "a.tif")
    with zipfile.ZipFile(tmp_path / "a b.zip", "w") as archive:
        archive.write(path, "in/a.tif")
    source = f"/vsizip/{tmp_path / 'a b.zip'}/in/a.tif"
    assert files(layer_of(source), tmp_path) == [source]
    source = f"GTIFF_DIR:1:{path}"
    assert files(layer_of(source), tmp_path) == [source]


def test_a_netcdf_variable_passes_as_it_is(tmp_path):
    path = make(tmp_path / "a b.nc", "netCDF", kind=gdal.GDT_Int16)
    source = f'NETCDF:"{path}":Band2'
    layer = layer_of(source)
    assert layer.bandCount() == 1 and files(layer, tmp_path) == [source]


def test_a_relative_path_becomes_absolute(tmp_path, monkeypatch):
    make(tmp_path / "a.tif")
    monkeypatch.chdir(tmp_path)
    assert files(layer_of("a.tif"), tmp_path) == [str(tmp_path / "a.tif")]


def test_several_layers_keep_their_order(tmp_path):
    layers = [layer_of(make(tmp_path / name)) for name in ("b.tif", "a.tif")]
    memory = "/vsimem/tilth_order.tif"
    layers.insert(1, layer_of(make(memory)))
    paths = imagery.snapshot(layers).files(tmp_path)
    assert [Path(path).name for path in paths] == ["b.tif", "image_2.tif", "a.tif"]
    gdal.Unlink(memory)


def written_in_a_thread(snapshot, folder):
    """The files of a snapshot, written as a task does it."""
    made = []
    thread = threading.Thread(target=lambda: made.extend(snapshot.files(folder)))
    thread.start()
    thread.join()
    return made


def test_what_another_process_cant_find_is_exported_pixel_for_pixel(tmp_path):
    source = "/vsimem/tilth_export.tif"
    make(source, nodata=65535, names=["B2 (490 nm)", ""])
    layer = layer_of(source)
    assert "not a file" in imagery.why_export(layer)
    snapshot = imagery.snapshot([layer])
    del layer
    made = written_in_a_thread(snapshot, tmp_path)
    assert snapshot.exports == 1 and snapshot.warnings == []
    data = gdal.Open(made[0])
    assert data.GetGeoTransform() == (500000, 10, 0, 6000000, 0, -10)
    assert osr.SpatialReference(data.GetProjection()).GetAuthorityCode(None) == "32630"
    assert (data.RasterXSize, data.RasterYSize, data.RasterCount) == (WIDTH, HEIGHT, 2)
    assert data.GetRasterBand(1).DataType == gdal.GDT_UInt16
    assert data.GetRasterBand(1).GetNoDataValue() == 65535
    assert data.GetRasterBand(1).GetDescription() == "B2 (490 nm)"
    assert cells(made[0], 2) == cells(source, 2)
    # Once more from the same snapshot, as when a job is run again.
    (tmp_path / "again").mkdir()
    assert len(snapshot.files(tmp_path / "again")) == 1
    gdal.Unlink(source)


def test_what_qgis_calculates_on_the_fly_is_exported(tmp_path):
    """The raster calculator's virtual layers: a copy of their copy gave arbitrary values."""
    given = layer_of(make(tmp_path / "a.tif"))
    entry = QgsRasterDataProvider.VirtualRasterInputLayers()
    entry.name, entry.uri, entry.provider = "a", given.source(), "gdal"
    wanted = QgsRasterDataProvider.VirtualRasterParameters()
    wanted.crs, wanted.extent = given.crs(), given.extent()
    wanted.width, wanted.height = given.width(), given.height()
    wanted.formula, wanted.rInputLayers = '"a@1" * 2', [entry]
    source = QgsRasterDataProvider.encodeVirtualRasterProviderUri(wanted)
    layer = QgsRasterLayer(source, "twice", "virtualraster")
    layer.dataProvider().setUserNoDataValue(1, [QgsRasterRange(2000, 2000)])
    snapshot = imagery.snapshot([layer])
    del layer
    made = written_in_a_thread(snapshot, tmp_path)
    data = gdal.Open(made[0])
    first, *others = cells(made[0])
    assert first == data.GetRasterBand(1).GetNoDataValue() == 2000
    assert others == [2 * value for value in cells(given.source())][1:]


def test_a_format_that_only_qgis_reads_is_exported(tmp_path):
    path = make(tmp_path / "a.gpkg", "GPKG", bands=3, kind=gdal.GDT_Byte)
    layer = layer_of(path)
    assert "GPKG" in imagery.why_export(layer)
    assert files(layer, tmp_path) == [str(tmp_path / "image_1.tif")]


def test_open_options_are_honoured(tmp_path):
    path = make(tmp_path / "a.tif")
    gdal.Open(str(path), gdal.GA_Update).BuildOverviews("NEAREST", [2])
    layer = layer_of(f"{path}|option:OVERVIEW_LEVEL=0")
    assert layer.width() == WIDTH // 2
    made = files(layer, tmp_path)[0]
    assert gdal.Open(made).RasterXSize == WIDTH // 2


def test_a_crs_that_was_set_in_qgis_is_handed_over(tmp_path):
    layer = layer_of(make(tmp_path / "a.tif", epsg=0))
    layer.setCrs(QgsCoordinateReferenceSystem())
    assert imagery.why_export(layer) == ""
    layer.setCrs(QgsCoordinateReferenceSystem("EPSG:25830"))
    assert "coordinate system" in imagery.why_export(layer)
    made = files(layer, tmp_path)[0]
    assert osr.SpatialReference(gdal.Open(made).GetProjection()).GetAuthorityCode(None) == "25830"
    assert cells(made) == cells(tmp_path / "a.tif")


def test_a_crs_of_the_file_without_a_code_needs_no_export(tmp_path):
    path = make(tmp_path / "a.tif", epsg=0)
    data = gdal.Open(str(path), gdal.GA_Update)
    system = osr.SpatialReference()
    system.ImportFromProj4("+proj=laea +lat_0=10 +lon_0=20 +datum=WGS84 +units=m")
    data.SetProjection(system.ExportToWkt())
    del data
    assert imagery.why_export(layer_of(path)) == ""


@pytest.mark.parametrize("own", [None, 7])
def test_no_data_values_that_were_set_in_qgis_are_handed_over(tmp_path, own):
    layer = layer_of(make(tmp_path / "a.tif", nodata=own))
    layer.dataProvider().setUserNoDataValue(1, [QgsRasterRange(1005, 1005)])
    assert "no-data" in imagery.why_export(layer)
    made = files(layer, tmp_path)[0]
    data = gdal.Open(made)
    missing = data.GetRasterBand(1).GetNoDataValue()
    assert missing is not None
    assert cells(made)[5] == missing and cells(made)[6] == 1006


def test_only_the_extent_is_exported_on_the_layers_grid(tmp_path):
    source = "/vsimem/tilth_part.tif"
    layer = layer_of(make(source))
    extent = Extent(500034, 5999871, 500088, 5999902, "EPSG:32630")
    made = files(layer, tmp_path, extent=extent)[0]
    data = gdal.Open(made)
    assert data.GetGeoTransform() == (500030, 10, 0, 5999910, 0, -10)
    assert (data.RasterXSize, data.RasterYSize) == (6, 4)
    assert cells(made)[0] == 1000 + 9 * WIDTH + 3
    # The same in another CRS covers at least the same pixels.
    other = Extent(-2.9994, 54.1470, -2.9988, 54.1474, "EPSG:4326")
    assert 5 <= gdal.Open(files(layer, tmp_path, extent=other)[0]).RasterXSize <= 7
    with pytest.raises(TilthError, match="outside the image"):
        imagery.snapshot([layer], extent=Extent(0, 0, 1, 1, "EPSG:32630"))
    gdal.Unlink(source)


def test_too_many_pixels_are_refused_with_advice(tmp_path, monkeypatch):
    layer = layer_of(make("/vsimem/tilth_much.tif"))
    plan = raster_export.plan
    monkeypatch.setattr(raster_export, "plan", lambda *args: plan(*args, limit=100))
    with pytest.raises(TilthError, match=r"40 x 30 pixels.*smaller\s+extent, or save"):
        imagery.snapshot([layer])
    gdal.Unlink("/vsimem/tilth_much.tif")


def test_cancel_and_failure_leave_no_file(tmp_path):
    layer = layer_of(make("/vsimem/tilth_cancel.tif"))
    feedback = QgsFeedback()
    feedback.cancel()
    with pytest.raises(TilthError, match="Cancelled"):
        imagery.snapshot([layer]).files(tmp_path, feedback)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TilthError, match="could not be read"):
        imagery.snapshot([layer]).files(tmp_path / "nowhere")
    gdal.Unlink("/vsimem/tilth_cancel.tif")


def test_what_is_no_use_is_said(tmp_path):
    with pytest.raises(TilthError, match="pick at least one image"):
        imagery.snapshot([])
    lost = QgsRasterLayer("/no/such.tif", "lost", "gdal")
    with pytest.raises(TilthError, match="'lost' can't be read"):
        imagery.snapshot([lost])


def png(*colour):
    """A tile of one colour."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc32(kind + data))

    header = struct.pack(">IIBBBBB", 256, 256, 8, 2, 0, 0, 0)
    rows = (b"\0" + bytes(colour) * 256) * 256
    body = chunk(b"IHDR", header) + chunk(b"IDAT", compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


class Tiles(BaseHTTPRequestHandler):
    """Tiles of one colour that tells the zoom level; some can be missing or slow."""

    def do_GET(self):
        zoom, column, row = (int(part) for part in self.path.strip("/").split("/"))
        time.sleep(self.server.seconds)
        if self.server.broken and (column + row) % 2 == 0:
            self.send_error(404)
            return
        body = png(zoom, 200, 100)
        self.send_response(200)
        self.send_header("Content-Type", "image/png")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Say nothing."""


class TileServer(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """Somebody who cancels goes in the middle; say nothing."""


@pytest.fixture
def tiles():
    server = TileServer(("127.0.0.1", 0), Tiles)
    server.broken, server.seconds = False, 0.0
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.seconds = 0.0
    server.shutdown()
    server.server_close()
    thread.join()


def tile_layer(server):
    port = server.server_address[1]
    uri = f"type=xyz&url=http://127.0.0.1:{port}/%7Bz%7D/%7Bx%7D/%7By%7D&zmin=0&zmax=16"
    return layer_of(uri, "tiles", "wms")


BOX = Extent(1000000.0, 6000000.0, 1000500.0, 6000400.0, "EPSG:3857")


def test_a_tile_server_is_read_through_qgis(tmp_path, tiles):
    layer = tile_layer(tiles)
    assert "wms" in imagery.why_export(layer)
    with pytest.raises(TilthError, match="choose an extent"):
        imagery.snapshot([layer])
    snapshot = imagery.snapshot([layer], extent=BOX)
    made = []
    thread = threading.Thread(target=lambda: made.extend(snapshot.files(tmp_path)))
    thread.start()
    # The tiles arrive by the network access of the thread; the main thread is not needed.
    thread.join(20)
    assert made
    data = gdal.Open(made[0])
    finest = 156543.03392804097 / 2**16
    assert data.RasterXSize == round(500 / finest) and data.RasterCount == 4
    assert math.isclose(data.GetGeoTransform()[1], finest, rel_tol=1e-6)
    middle = len(cells(made[0])) // 2
    assert [cells(made[0], band)[middle] for band in (1, 2, 3, 4)] == [16, 200, 100, 255]


def test_a_tile_server_at_a_given_resolution(tmp_path, tiles):
    """In metres on the ground, which are longer than the units of Web Mercator there."""
    feedback, seen = QgsFeedback(), []
    feedback.progressChanged.connect(seen.append)
    metres = 10.0 * math.cos(math.atan(math.sinh(6000200 / 6378137)))
    snapshot = imagery.snapshot([tile_layer(tiles)], extent=BOX, resolution=metres)
    made = snapshot.files(tmp_path, feedback)[0]
    assert seen[-1] == 100
    data = gdal.Open(made)
    assert (data.RasterXSize, data.RasterYSize) == (50, 40)
    assert data.GetGeoTransform()[1] == pytest.approx(10, rel=0.01)


def test_own_pixels_stay_at_any_resolution(tmp_path):
    layer = layer_of(make("/vsimem/tilth_own.tif"))
    made = imagery.snapshot([layer], resolution=50).files(tmp_path)[0]
    assert gdal.Open(made).RasterXSize == WIDTH
    gdal.Unlink("/vsimem/tilth_own.tif")


WIDE = Extent(1000000.0, 6000000.0, 1004000.0, 6004000.0, "EPSG:3857")


def test_tiles_that_are_missing_are_transparent(tmp_path, tiles):
    tiles.broken = True
    made = files(tile_layer(tiles), tmp_path, extent=WIDE)[0]
    assert set(cells(made, 4)) == {0, 255}


def test_a_slow_server_can_be_cancelled(tmp_path, tiles):
    tiles.seconds = 5.0
    snapshot, feedback = imagery.snapshot([tile_layer(tiles)], extent=WIDE), QgsFeedback()
    caught = []

    def work():
        try:
            snapshot.files(tmp_path, feedback)
        except TilthError as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.5)
    start = time.monotonic()
    feedback.cancel()
    thread.join(10)
    assert caught and time.monotonic() - start < 20
    assert list(tmp_path.iterdir()) == []


def test_describe(tmp_path):
    path = make(tmp_path / "a.tif", bands=3, names=["B2 blue", "", "B4"])
    about = imagery.describe(layer_of(path, "scene"))
    assert about.bands == ["B2 blue", "Band 2", "B4"]
    assert (about.size, about.resolution) == (f"{WIDTH} × {HEIGHT} pixels", "10 m")
    assert about.text == f"3 bands, {WIDTH} × {HEIGHT} pixels, 10 m"
    assert about.through_qgis == "" and about.name == "scene"
    plain = layer_of(make(tmp_path / "b.tif", bands=1, epsg=0))
    plain.setCrs(QgsCoordinateReferenceSystem())
    assert imagery.describe(plain).text == f"1 band, {WIDTH} × {HEIGHT} pixels"
    assert QgsProject.instance() is not None


def test_describe_a_tile_server(tiles):
    about = imagery.describe(tile_layer(tiles))
    assert about.size == about.resolution == "" and about.through_qgis
