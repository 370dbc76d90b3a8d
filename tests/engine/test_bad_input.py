"""What people have and give by mistake: it works, or one line says what, where and what to do."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from rasterio.enums import ColorInterp
from rasterio.transform import Affine
from tilth_engine.cli import main

from .worlds import (
    PLACE,
    quick,
    scene,
    square,
    two_classes,
    write_adapter,
    write_image,
    write_polygons,
)


class Command:
    """The command ``tilth`` in this process, in a folder with a good image and good labels."""

    def __init__(self, folder, capfd):
        self.folder, self.capfd = folder, capfd
        self.image = write_image(folder / "good image.tif", scene())
        self.labels = two_classes(folder / "good labels.gpkg")
        self.out = folder / "a.tilth"

    def predict(self, adapter, image, out):
        return self(
            "predict", "--adapter", adapter, "--image", image, "--out", out, "--threads", "1"
        )  # fmt: skip

    def __call__(self, *arguments):
        """The exit status; what was printed is in ``printed`` and ``errors``."""
        self.capfd.readouterr()
        with quick():
            try:
                status = main([str(argument) for argument in arguments])
            except SystemExit as leaving:
                status = leaving.code
        self.printed, self.errors = self.capfd.readouterr()
        return status

    def train(self, image=None, labels=None, *more):
        # Short and without the backbone's training: what is tested comes before.
        options = ["--method", "frozen", "--epochs", "1", "--threads", "1", "--device", "cpu"]
        return self(
            "train", "--image", image or self.image, "--labels", labels or self.labels,
            "--class-field", "class", "--out", self.out, *options, *more,
        )  # fmt: skip

    def plan(self, image=None, labels=None, *more):
        return self.train(image, labels, "--dry-run", *more)

    def refused(self, status, *words):
        """Status 2, and one line on standard error with all of these words."""
        lines = self.errors.strip().splitlines()
        assert status == 2, self.errors
        complaint = [line for line in lines if not line.startswith(("warning: ", "epoch "))]
        assert len(complaint) == 1, lines
        assert complaint[0].startswith("tilth")
        assert len(complaint[0]) < 600
        assert self.printed == ""
        for word in words:
            assert re.search(word, complaint[0]), complaint[0]
        assert not self.out.exists()
        left = {path.name for path in self.folder.iterdir()}
        assert not {name for name in left if name.startswith(".tilth") or "training" in name}

    def worked(self, status, *warnings):
        assert status == 0, self.errors
        for warning in warnings:
            assert re.search(f"warning: .*{warning}", self.errors + self.printed)


@pytest.fixture
def tilth(tmp_path, capfd):
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield Command(tmp_path, capfd)
    for number, handler in handlers.items():
        signal.signal(number, handler)


def squares(*classes):
    """A square for each class, beside each other."""
    places = [(column, row) for row in (4, 30, 60) for column in (4, 30, 60, 80)]
    return [square(*place) for place, _ in zip(places, classes, strict=False)]


# Labels


def test_a_file_that_is_missing_or_is_none(tilth, tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("no labels")
    tilth.refused(tilth.plan("/no/image.tif"), "/no/image.tif", "exist", "check")
    tilth.refused(tilth.plan(None, "/no/labels.gpkg"), "/no/labels.gpkg", "exist", "check")
    tilth.refused(tilth.plan(text), "notes.txt", "raster")
    tilth.refused(tilth.plan(None, text), "notes.txt", "vector")
    tilth.refused(tilth.plan(tmp_path), str(tmp_path), "image")
    tilth.refused(tilth.plan(None, f"{tilth.labels}|layername=other"), "other", "good labels")
    tilth.refused(
        tilth("train", "--image", tilth.image, "--labels", tilth.labels, "--class-field", "kind",
              "--out", tilth.out), "kind", "class",
    )  # fmt: skip


def test_no_labels_at_all(tilth, tmp_path):
    empty = write_polygons(tmp_path / "empty.gpkg", [], [])
    tilth.refused(tilth.plan(None, empty), "empty", "polygon", "draw")
    tilth.refused(
        tilth("train", "--image", tilth.image, "--out", tilth.out), "labels", "polygons|raster"
    )


def test_labels_outside_the_image(tilth, tmp_path):
    shapes = [square(4000 + column, 10) for column in (0, 20)]
    labels = write_polygons(tmp_path / "far.gpkg", shapes, ["a", "b"])
    tilth.refused(tilth.plan(None, labels), "no polygon lies on the image", "far", "good image")

    wrong = write_polygons(tmp_path / "w.gpkg", squares(1, 2, 1, 2), [1, 2, 1, 2], crs="EPSG:4326")
    tilth.refused(tilth.plan(None, wrong), "no polygon lies", "EPSG:4326", "check")


def test_one_class(tilth, tmp_path):
    labels = write_polygons(tmp_path / "one.gpkg", squares(1, 1, 1), ["wood"] * 3)

    tilth.refused(tilth.plan(None, labels), "2 classes", "wood", "draw")


def test_one_class_and_a_background_are_two(tilth, tmp_path):
    labels = write_polygons(tmp_path / "one.gpkg", squares(1, 1), ["wood"] * 2)
    area = write_polygons(tmp_path / "area.gpkg", [square(0, 0, 25), square(28, 0, 25)])

    tilth.worked(tilth.plan(None, labels, "--labelled-area", area))

    assert "background" in tilth.printed


def test_null_classes(tilth, tmp_path):
    every = write_polygons(tmp_path / "null.gpkg", squares(1, 1), [None, None])
    tilth.refused(tilth.plan(None, every), "class", "NULL", "fill")

    values = ["a", "b", "a", "b", None, " "]
    some = write_polygons(tmp_path / "some.gpkg", squares(*values), values)
    tilth.worked(tilth.plan(None, some), "2 polygons without a class")


def test_a_class_with_one_polygon(tilth, tmp_path):
    labels = write_polygons(tmp_path / "l.gpkg", squares(1, 2, 1, 2, 3), [1, 2, 1, 2, 3])

    tilth.worked(tilth.train(None, labels), "not validated")


def test_polygons_smaller_than_a_pixel(tilth, tmp_path):
    shapes = [square(10.6 + 5 * number, 10.6, 0.2) for number in range(4)]
    labels = write_polygons(tmp_path / "l.gpkg", shapes, ["a", "b"] * 2)

    tilth.worked(
        tilth.train(None, labels), "4 polygons, or parts of them, are smaller than a pixel"
    )


def test_geometries_of_every_kind(tilth, tmp_path):
    box = square(4, 4)
    left, bottom, right, top = box.bounds
    bow = shapely.Polygon([(left, bottom), (right, top), (right, bottom), (left, top)])
    deep = shapely.force_3d(square(30, 4), 5.0)
    many = shapely.MultiPolygon([square(60, 4), square(80, 4)])
    line = shapely.LineString([(left, bottom), (right, top)])
    shapes = [None, shapely.Polygon(), bow, deep, many, line, square(4, 40), square(40, 40)]
    classes = ["a", "a", "a", "b", "b", "a", "a", "b"]
    labels = write_polygons(tmp_path / "all.gpkg", shapes, classes, kind="Unknown")

    tilth.worked(tilth.train(None, labels), "null geometries", "empty", "no polygons")


def test_curved_polygons(tilth, tmp_path):
    def curve(column, row):
        a, b, c, d = square(column, row).exterior.coords[:4]
        ring = ", ".join(f"{x} {y}" for x, y in (a, b, c, d, a))
        return f"CURVEPOLYGON(CIRCULARSTRING({ring}))"

    rows = [f'"{curve(c, r)}",{k}' for c, k in ((4, "a"), (60, "b")) for r in (4, 40)]
    table = tmp_path / "curved.csv"
    table.write_text("WKT,class\n" + "\n".join(rows) + "\n")

    status = tilth.plan(None, table)

    tilth.worked(status, "no coordinate system")
    assert "4 polygons" in tilth.printed


def test_labels_in_another_crs(tilth, tmp_path):
    meta, _, wkb, fields = pyogrio.raw.read(tilth.labels)
    shapes = shapely.from_wkb(wkb)
    moved = [
        shapely.transform(
            shape,
            lambda p: np.column_stack(
                rasterio.warp.transform(meta["crs"], "EPSG:4326", p[:, 0], p[:, 1])
            ),
        )
        for shape in shapes
    ]
    labels = write_polygons(tmp_path / "l.gpkg", moved, list(fields[0]), crs="EPSG:4326")

    tilth.worked(tilth.plan(None, labels))

    assert re.search(r"water +4 polygons +5\d\d pixels", tilth.printed)


# Images


def test_an_image_without_a_coordinate_system(tilth, tmp_path):
    image = write_image(tmp_path / "i.tif", scene(), crs=None)

    tilth.worked(tilth.train(image), "no coordinate system")


def test_an_image_with_nan_but_no_nodata(tilth, tmp_path):
    values = scene().astype(np.float32)
    values[:, :40, :40] = np.nan
    image = write_image(tmp_path / "i.tif", values)

    tilth.worked(tilth.train(image), "have no data")


def test_an_image_that_is_nothing_but_gaps(tilth, tmp_path):
    image = write_image(tmp_path / "i.tif", np.full((4, 96, 96), np.nan, np.float32))

    tilth.refused(tilth.train(image), "2 classes|no data|pixel")


def test_an_image_with_alpha(tilth, tmp_path):
    values = (scene() // 16).astype(np.uint8)
    values[3] = 255
    values[3, :50, :50] = 0
    path = tmp_path / "i.tif"
    write_image(path, values, names=())
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]

    tilth.worked(tilth.train(path), "have no data")

    adapter = tmp_path / "a.tilth"
    tilth.predict(adapter, path, tmp_path / "m.tif")
    with rasterio.open(tmp_path / "m.tif") as file:
        assert np.array_equal(file.read(1) == 0, values[3] == 0)


def test_an_image_with_a_palette(tilth, tmp_path):
    path = tmp_path / "i.tif"
    write_image(path, (scene()[3:] > 1000).astype(np.uint8), names=())
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {0: (10, 40, 200, 255), 1: (20, 160, 30, 255)})

    tilth.worked(tilth.train(path))


def test_an_image_with_one_band(tilth, tmp_path):
    image = write_image(tmp_path / "i.tif", scene()[3:], names=("",))

    tilth.worked(tilth.train(image))


def test_an_image_of_complex_numbers(tilth, tmp_path):
    image = write_image(tmp_path / "i.tif", scene().astype(np.complex64))

    tilth.refused(tilth.train(image), "i.tif", "complex", "amplitude")


def test_an_image_that_is_rotated(tilth, tmp_path):
    turned = Affine(8, 6, 500_000, 6, -8, 5_000_000)
    image = write_image(tmp_path / "i.tif", scene(), transform=turned)
    shapes = [square(c, r, transform=turned) for c in (10, 60) for r in (4, 30, 60)]
    labels = write_polygons(tmp_path / "l.gpkg", shapes, ["a"] * 3 + ["b"] * 3)

    tilth.worked(tilth.plan(image, labels))

    assert re.search(r"a +3 polygons +432 pixels", tilth.printed)
    tilth.worked(tilth.train(image, labels))


def test_an_image_of_20_by_20_pixels(tilth, tmp_path):
    image = write_image(tmp_path / "i.tif", scene(20, 20))
    shapes = [square(c, r, 4) for c in (2, 13) for r in (2, 12)]
    labels = write_polygons(tmp_path / "l.gpkg", shapes, ["a", "a", "b", "b"])

    tilth.worked(tilth.train(image, labels))
    status = tilth.predict(tilth.out, image, tmp_path / "m.tif")

    tilth.worked(status)
    with rasterio.open(tmp_path / "m.tif") as file:
        assert file.shape == (20, 20)


def test_scenes_with_other_bands(tilth, tmp_path):
    other = write_image(tmp_path / "rgb.tif", scene()[:3], names=("Red", "Green", "Blue"))

    tilth.refused(tilth.train(None, None, "--image", other), "rgb.tif", "NIR")
    tilth.refused(tilth.train(None, None, "--bands", "1,9"), "band 9", "Blue")
    tilth.refused(tilth.train(None, None, "--bands", "1,x"), "bands", "1,x")


# Outputs


def test_an_output_that_cannot_be_written(tilth, tmp_path):
    tilth.refused(tilth.train(None, None, "--out", tmp_path / "no" / "a.tilth"), "folder", "make")
    tilth.refused(tilth.train(None, None, "--out", tmp_path), "folder", "file name")
    tilth.refused(tilth.train(None, None, "--out", tilth.image), "input", "choose")


def test_a_full_disk(tilth, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=100k", "tilth-test", str(disk)]
    if not mount or subprocess.run([mount, *options], capture_output=True).returncode:
        pytest.skip("no right to mount a small disk")
    try:
        tilth.refused(tilth.train(None, None, "--out", disk / "a.tilth"), "disk is full", "free")
        adapter = write_adapter(tmp_path / "good.tilth")
        status = tilth.predict(adapter, tilth.image, disk / "m.tif")
        tilth.refused(status, "disk is full", "m.tif")
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# Adapters


def test_a_damaged_adapter(tilth, tmp_path):
    good = Path(write_adapter(tmp_path / "good.tilth")).read_bytes()
    bad = tmp_path / "bad.tilth"
    for data in (b"", good[:5000], good[:40] + b"??" + good[42:]):
        bad.write_bytes(data)
        map_ = tmp_path / "m.tif"
        status = tilth.predict(bad, tilth.image, map_)
        tilth.refused(status, "bad.tilth", "get the file again")
        tilth.refused(tilth("inspect", bad), "bad.tilth")
        assert not map_.exists()
    tilth.refused(tilth("inspect", tmp_path / "none.tilth"), "none.tilth", "no such")


def test_an_image_with_bands_other_than_the_adapters(tilth, tmp_path):
    adapter = write_adapter(tmp_path / "good.tilth")
    image = write_image(tmp_path / "rgb.tif", scene()[:3], names=("Red", "Green", "Blue"))

    status = tilth.predict(adapter, image, tmp_path / "m.tif")

    tilth.refused(status, "rgb.tif", "lacks NIR", "choose")


def test_control_characters_stay_out_of_the_terminal(tilth, tmp_path):
    classes = [
        {"code": code, "name": f"\x1b[31mevil\x07{code}\r", "colour": "#000000"} for code in (1, 2)
    ]
    adapter = write_adapter(tmp_path / "evil.tilth", classes=classes, name="\x1b]0;title\x07")

    assert tilth("inspect", adapter) == 0
    assert "evil" in tilth.printed
    assert tilth.printed.replace("\n", "").isprintable()


def test_the_place_of_the_test_scene_is_as_the_tests_believe(tilth):
    with rasterio.open(tilth.image) as file:
        assert file.transform == PLACE
