"""Each bad input has one clear message, on its page and in QGIS's message bar."""

from __future__ import annotations

from typing import Any, Dict

import pytest
from qgis_window import Qgis

SAID = {
    "no adapter": "No adapter",
    "no image": "No image",
    "no label layer": "No label layer",
    "project closed": "No image",
    "no class field": "no class field",
    "labels outside": "no polygon lies on the image",
    "one class": "2 classes are needed",
    "only NULL classes": "NULL",
    "no polygons": "no polygons",
    "image without CRS": "no coordinate reference system",
    "complex image": "complex",
    "image file gone": "does not exist",
    "adapter not writable": "can't be made",
    "other bands": "lacks",
    "rectangle outside": "outside the image",
    "map not writable": "no folder",
    "damaged adapter": "not a sound Tilth adapter",
    "adapter gone": "gone",
}
LOOKED = {
    "one polygon": "not validated",
    "some NULL classes": "without a class",
    "smaller than a pixel": "smaller than a pixel",
    "odd geometries": "without",
}


@pytest.fixture(scope="module")
def report(screen: Dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Any]:
    window = Qgis(screen, tmp_path_factory.mktemp("bad_input"))
    return window.run("bad_input", 300)


@pytest.mark.parametrize("name", SAID)
def test_refused(report: Dict[str, Any], name: str) -> None:
    said = report["said"][name]
    assert SAID[name] in said["page"]
    assert said["bar"] == said["page"]
    assert "Traceback" not in said["page"]
    assert "\n" not in said["page"]
    assert "/runs/" not in said["page"], "our own files mean nothing to the user"


@pytest.mark.parametrize("name", LOOKED)
def test_odd_but_usable(report: Dict[str, Any], name: str) -> None:
    looked = report["looked"][name]
    assert LOOKED[name] in looked["page"]
    assert "/runs/" not in looked["page"]
    assert "Trains" in looked["plan"]


def test_a_damaged_adapter_shows_it_on_its_card(report: Dict[str, Any]) -> None:
    assert "not a sound Tilth adapter" in report["damaged_card"]
