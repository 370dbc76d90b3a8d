"""Which parts of the images are read for the labels."""

from __future__ import annotations

from types import SimpleNamespace

import shapely
from tilth_engine.data.grid import Grid
from tilth_engine.data.label_model import LabelPolygon, Labels
from tilth_engine.label_samples import _touched
from tilth_engine.training.samples import keys_of


def ready(*polygons):
    labels = Labels([], list(polygons), [Grid] * 2)
    return SimpleNamespace(labels=labels)


def polygon(shape, image=0, **options):
    return LabelPolygon(shape, shape, 1, image, 1, **options)


def test_of_a_river_s_box_the_cells_on_the_river_are_read():
    river = shapely.LineString([(0, 0), (6400, 6400)]).buffer(3)
    keys = keys_of([(0, 0, 0, 6400, 6400)], 64)

    found = _touched(ready(polygon(river)), keys, 64)

    assert len(keys) == 100 * 100
    assert 100 <= len(found) < 500
    assert {(0, number, number) for number in range(100)} <= set(found)


def test_images_do_not_mix_and_a_spot_is_read_where_it_stands():
    speck = shapely.box(5.6, 5.6, 5.7, 5.7)
    keys = keys_of([(0, 0, 0, 64, 64), (1, 0, 0, 128, 64)], 64)
    field = polygon(shapely.box(10, 70, 20, 80), image=1)

    square = shapely.box(5.25, 5.25, 5.75, 5.75)

    found = _touched(ready(polygon(speck, labelled=square), field), keys, 64)

    assert found == [(0, 0, 0), (1, 1, 0)]
