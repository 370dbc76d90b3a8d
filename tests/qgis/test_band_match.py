"""The line about the bands and its table, without an engine."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List

import pytest
from qgis.core import QgsApplication, QgsRasterLayer
from qgis.PyQt.QtWidgets import QDialogButtonBox
from tilth.plugin.dock.band_match import EXTRA, NOT_USED, BandMatch, MatchDialog

SUBJECT = ("prithvi", ("layer-1",), False)
PLAN: Dict[str, Any] = {
    "matching": {
        "summary": "2 of the image's 3 used; the model knows 3",
        "lines": ["B4 (665 nm) = RED (665 nm)", "B8 (833 nm) is not used by the model"],
        "table": [
            {"band": "B4", "wavelength_nm": 664.6, "model_band": "RED"},
            {"band": "B8A", "wavelength_nm": 864.7, "model_band": "NIR"},
            {"band": "nDSM", "wavelength_nm": None, "model_band": ""},
        ],
        "choices": ["RED", "NIR", "SWIR"],
    }
}


@pytest.fixture
def line(qgis_app: QgsApplication) -> Iterator[BandMatch]:
    made = BandMatch()
    made.resize(600, 60)
    made.show_plan(PLAN, SUBJECT)
    yield made
    made.deleteLater()


def changes(line: BandMatch) -> List[int]:
    found: List[int] = []
    line.changed.connect(lambda: found.append(1))
    return found


def test_the_match_is_shown_with_its_details(line: BandMatch) -> None:
    assert not line.isHidden()
    assert line.label.text() == "Bands: 2 of the image's 3 used; the model knows 3"
    line.show_plan({**PLAN, "image": {"scale": "reflectance x 10000"}}, SUBJECT)
    assert line.label.text().endswith("the model knows 3. Values: reflectance x 10000")
    assert line.label.toolTip().splitlines() == PLAN["matching"]["lines"]
    assert line.matching(SUBJECT) == []


def test_without_a_backbone_there_is_nothing_to_show(line: BandMatch) -> None:
    line.show_plan({"matching": {"summary": "", "lines": [], "table": [], "choices": []}}, None)
    assert line.isHidden()
    line.show_plan({}, None)
    assert line.isHidden()


def test_the_table_shows_what_was_found(line: BandMatch) -> None:
    dialog = MatchDialog(PLAN["matching"], [])

    assert [dialog.table.item(row, 0).text() for row in range(3)] == [
        "B4 (665 nm)",
        "B8A (865 nm)",
        "nDSM",
    ]
    assert dialog.chosen() == ["RED", "NIR", NOT_USED]
    first = dialog.combos[0]
    assert [first.itemData(index) for index in range(first.count())] == [
        NOT_USED,
        "RED",
        "NIR",
        "SWIR",
        EXTRA,
    ]


def test_what_is_chosen_holds_for_this_backbone_and_these_images(line: BandMatch) -> None:
    heard = changes(line)
    dialog = MatchDialog(PLAN["matching"], [])
    dialog.combos[1].setCurrentIndex(dialog.combos[1].findData("SWIR"))
    line.choose(dialog.chosen())

    assert heard == [1]
    assert line.matching(SUBJECT) == ["RED", "SWIR", NOT_USED]
    assert line.matching(("galileo", ("layer-1",), False)) == []
    line.show_plan(PLAN, SUBJECT)
    assert "chosen by you" in line.label.text()
    again = MatchDialog(PLAN["matching"], line.matching(SUBJECT))
    assert again.chosen() == ["RED", "SWIR", NOT_USED]


def test_automatic_leaves_it_to_tilth_again(line: BandMatch) -> None:
    line.choose(["RED", "SWIR", NOT_USED])
    dialog = MatchDialog(PLAN["matching"], line.matching(SUBJECT))
    dialog.buttons.button(QDialogButtonBox.StandardButton.Reset).click()
    line.choose(dialog.chosen())

    assert line.matching(SUBJECT) == []


def test_where_none_is_found_one_can_be_made(line: BandMatch, tmp_path: Any) -> None:
    gdal = pytest.importorskip("osgeo.gdal")
    path = str(tmp_path / "i.tif")
    file = gdal.GetDriverByName("GTiff").Create(
        path, 4, 4, 4, options=["PHOTOMETRIC=RGB", "ALPHA=YES"]
    )
    file.GetRasterBand(1).SetDescription("first")
    file = None
    layer = QgsRasterLayer(path, "i")
    card = {
        "bands": [
            {"name": "RED", "group": "S2"},
            {"name": "RED", "group": "RGB"},
            {"name": "DEM", "group": "DEM"},
        ]
    }
    other = ("terramind", (layer.id(),), False)

    line.show_refusal("bands: the image's are not enough", other, [layer], card)

    assert not line.isHidden()
    dialog = MatchDialog(line._told, [])
    assert dialog.table.rowCount() == 3  # the fourth is alpha
    assert "first" in dialog.table.item(0, 0).text()
    assert dialog.combos[0].findData("RGB RED") > 0
    assert dialog.combos[0].findData("DEM") > 0
    line.choose(["RGB RED", NOT_USED, NOT_USED])
    assert line.matching(other) == ["RGB RED", NOT_USED, NOT_USED]


def test_other_refusals_say_nothing_of_bands(line: BandMatch) -> None:
    line.show_refusal("labels: none lies on the image", ("other", (), False), [], {})
    assert line.isHidden()


def test_a_refused_choice_can_be_mended(line: BandMatch) -> None:
    line.choose(["RED", "RED", NOT_USED])
    line.show_refusal("matching: both are said to be RED", SUBJECT, [], {})

    assert not line.isHidden()
    assert line.label.text() == "Bands: your choice can't be used"
    assert line.label.toolTip() == "matching: both are said to be RED"
    assert MatchDialog(line._told, line.matching(SUBJECT)).chosen() == ["RED", "RED", NOT_USED]
