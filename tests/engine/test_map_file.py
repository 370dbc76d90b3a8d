"""The map on disk: a valid COG that knows its classes, or no file at all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.transform import Affine
from rasterio.windows import Window
from tilth_engine import map_file
from tilth_engine.data.label_raster import category_names, colour_table
from tilth_engine.errors import TilthError
from tilth_engine.map_file import class_map, percent_raster

UTM = CRS.from_epsg(32630)
PLACE = Affine(10, 0, 500_000, 0, -10, 5_000_000)
CLASSES = [
    {"code": 1, "name": "Wald & Höhe <b>", "colour": "#117733"},
    {"code": 3, "name": "evil \x00\x1b[31m\x07]]>name", "colour": "#DDCC77"},
    {"code": 40, "name": "水", "colour": "#2255aa"},
]


def written(path, classes=CLASSES, height=600, width=700):
    """A map whose columns cycle through nodata and the classes; returns its codes."""
    codes = np.array([0] + [entry["code"] for entry in classes])
    values = np.broadcast_to(codes[np.arange(width) // 50 % len(codes)], (height, width))
    with class_map(
        str(path), width, height, UTM, PLACE, classes, {"TILTH_ADAPTER": "évil\x01 \x00name"}
    ) as target:
        for row in range(0, height, 256):
            rows = min(256, height - row)
            target.write(
                values[row : row + rows].astype(target.dtypes[0]),
                1,
                window=Window(0, row, width, rows),
            )
    return values


def test_the_map_is_a_cog_with_everything_a_gis_wants(tmp_path):
    values = written(tmp_path / "m.tif")

    with rasterio.open(tmp_path / "m.tif") as file:
        assert np.array_equal(file.read(1), values)
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.overviews(1) == [2, 4]
        assert file.nodata == 0
        assert file.dtypes == ("uint8",)
        assert file.crs == UTM
        assert file.transform == PLACE
        colours = file.colormap(1)
        assert colours[3] == (0xDD, 0xCC, 0x77, 255)
        assert colours[0][3] == 0
        table = json.loads(file.tags()["TILTH_CLASSES"])
        assert [entry["code"] for entry in table] == [1, 3, 40]
        assert table[2]["name"] == "水"
    # Overviews hold classes, not means of codes.
    with rasterio.open(tmp_path / "m.tif", overview_level=1) as file:
        assert set(np.unique(file.read(1))) <= {0, 1, 3, 40}
    assert {path.name for path in tmp_path.iterdir()} == {"m.tif", "m.tif.aux.xml"}


def test_the_sidecar_has_names_and_a_table(tmp_path):
    written(tmp_path / "m.tif")

    root = ElementTree.fromstring((tmp_path / "m.tif.aux.xml").read_bytes())

    names = [entry.text or "" for entry in root.iter("Category")]
    assert len(names) == 41
    assert names[1] == "Wald & Höhe <b>"
    assert names[3] == "evil [31m]]>name"
    rows = [[field.text for field in row] for row in root.iter("Row")]
    assert rows[0] == ["1", "Wald & Höhe <b>", "17", "119", "51"]
    assert [row[0] for row in rows] == ["1", "3", "40"]
    assert category_names(str(tmp_path / "m.tif"))[40] == "水"
    assert colour_table(str(tmp_path / "m.tif"))[40] == "#2255aa"


@pytest.mark.parametrize("letter", "\u00a0\u200c\u200d\u00ad\ue000\t\n\U0001f33e")
def test_a_name_is_read_back_letter_by_letter(tmp_path, letter):
    """`tilth evaluate` finds a class by its name."""
    name = f"winter{letter}crops"
    written(tmp_path / "m.tif", [{"code": 1, "name": name, "colour": "#117733"}], 30, 40)

    assert category_names(str(tmp_path / "m.tif")) == {1: name}


@pytest.mark.parametrize("letter", "\x00\x0b\x1f\ufffe\uffff")
def test_what_xml_cannot_hold_is_left_out_of_the_sidecar(tmp_path, letter):
    classes = [{"code": 1, "name": f"a{letter}b", "colour": "#117733"}]
    written(tmp_path / "m.tif", classes, 30, 40)

    root = ElementTree.fromstring((tmp_path / "m.tif.aux.xml").read_bytes())
    assert [entry.text or "" for entry in root.iter("Category")] == ["", "ab"]


@pytest.mark.skipif(not shutil.which("gdalinfo"), reason="gdalinfo is not installed")
def test_gdal_itself_reads_names_and_table(tmp_path):
    written(tmp_path / "m.tif")

    clean = {
        key: value for key, value in os.environ.items() if not key.startswith(("GDAL", "PROJ"))
    }
    text = subprocess.run(
        ["gdalinfo", "-json", str(tmp_path / "m.tif")], capture_output=True, check=True, env=clean
    ).stdout.decode()
    info = json.loads(text)

    band = info["bands"][0]
    assert band["colorInterpretation"] == "Palette"
    assert band["noDataValue"] == 0
    assert "Höhe" in text
    assert "水" in text
    assert len(info["rat"]["row"]) == 3


@pytest.mark.parametrize("highest", [255, 256, 4000, 65535])
def test_large_codes(tmp_path, highest):
    classes = [{"code": code, "name": f"c{code}", "colour": "#010203"} for code in (7, highest)]

    values = written(tmp_path / "m.tif", classes)

    with rasterio.open(tmp_path / "m.tif") as file:
        assert file.dtypes == ("uint8" if highest < 256 else "uint16",)
        assert np.array_equal(file.read(1), values)
        assert file.colormap(1)[highest] == (1, 2, 3, 255)
    assert category_names(str(tmp_path / "m.tif")) == {7: "c7", highest: f"c{highest}"}


def test_percentages(tmp_path):
    names = ["a", "ü\x00\x01<"]
    with percent_raster(str(tmp_path / "p.tif"), 40, 30, UTM, PLACE, names, {}) as target:
        target.write(np.full((2, 30, 40), 55, np.uint8))

    with rasterio.open(tmp_path / "p.tif") as file:
        assert file.nodata == 255
        assert file.count == 2
        assert file.descriptions[0] == "a"
        assert (file.read() == 55).all()


def test_without_a_coordinate_system(tmp_path):
    with class_map(
        str(tmp_path / "m.tif"), 9, 5, None, Affine(1, 0, 0, 0, -1, 0), CLASSES, {}
    ) as m:
        m.write(np.ones((1, 5, 9), np.uint8))

    with rasterio.open(tmp_path / "m.tif") as file:
        assert file.crs is None
        assert (file.read() == 1).all()


# Whole or not at all


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_nothing_is_left_when_it_fails_in_the_middle(tmp_path, error):
    with pytest.raises(error), class_map(str(tmp_path / "m.tif"), 9, 5, UTM, PLACE, CLASSES, {}):
        raise error

    assert list(tmp_path.iterdir()) == []


def test_an_older_map_is_replaced_whole_and_survives_a_failure(tmp_path):
    path = tmp_path / "m.tif"
    written(path)
    before = path.read_bytes()

    with pytest.raises(RuntimeError), class_map(str(path), 9, 5, UTM, PLACE, CLASSES, {}):
        raise RuntimeError
    assert path.read_bytes() == before

    with path.open("rb") as reader:  # as a GIS that has it open
        other = [{"code": 2, "name": "b", "colour": "#000000"}]
        values = written(path, other, 30, 40)
        assert reader.read() == before
    with rasterio.open(path) as file:
        assert np.array_equal(file.read(1), values)
    assert category_names(str(path)) == {2: "b"}


def test_statistics_of_an_older_raster_do_not_stay(tmp_path):
    """QGIS leaves them in the sidecar, and would draw the new raster by them."""
    for turn in range(2):
        with percent_raster(str(tmp_path / "p.tif"), 9, 5, UTM, PLACE, ["a"], {}) as target:
            target.write(np.full((1, 5, 9), 10 + turn, np.uint8))
        if not turn:
            (tmp_path / "p.tif.aux.xml").write_text("<PAMDataset><x/></PAMDataset>")

    assert not (tmp_path / "p.tif.aux.xml").exists()


def test_a_folder_that_is_missing_or_a_folder_in_its_place(tmp_path):
    for path in (tmp_path / "no" / "m.tif", tmp_path):
        with (
            pytest.raises(TilthError) as caught,
            class_map(str(path), 9, 5, UTM, PLACE, CLASSES, {}),
        ):
            pass
        assert str(path) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid"), reason="POSIX permissions")
def test_a_folder_that_may_not_be_written(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    with (
        pytest.raises(TilthError, match="permission"),
        class_map(str(tmp_path / "m.tif"), 9, 5, UTM, PLACE, CLASSES, {}),
    ):
        pass


def test_too_little_room_is_told_before_anything_is_computed(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(map_file.shutil, "disk_usage", lambda folder: usage(10**9, 10**9, 10**6))

    with (
        pytest.raises(TilthError, match="disk is full"),
        class_map(str(tmp_path / "m.tif"), 9000, 9000, UTM, PLACE, CLASSES, {}),
    ):
        pytest.fail("it went on")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def tiny_disk(tmp_path):
    """A real file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=1m", "tilth-test", str(folder)]
    if not mount or subprocess.run([mount, *options], capture_output=True).returncode:
        pytest.skip("no right to mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("side", [850, 1200, 3000])
def test_a_disk_that_fills_up_meanwhile_is_told_in_one_line(tiny_disk, monkeypatch, side):
    """While it is written, when it is closed, or while the COG is made."""
    monkeypatch.setattr(map_file, "_check_room", lambda path, size: None)
    noise = np.random.default_rng(0).integers(0, 255, (1, side, side), dtype=np.uint8)

    with (
        pytest.raises(TilthError, match="disk is full"),
        percent_raster(str(tiny_disk / "m.tif"), side, side, UTM, PLACE, ["a"], {}) as target,
    ):
        target.write(noise)
    assert list(Path(tiny_disk).iterdir()) == []
