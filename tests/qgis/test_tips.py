"""Names and paths are anyone's: no tooltip, question or hint takes one for HTML."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List

import pytest
from dock_window import wait
from qgis.core import QgsApplication, QgsProject, QgsRasterLayer
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QTextDocument
from qgis.PyQt.QtWidgets import QMessageBox, QTableWidget, QTextEdit
from tilth.plugin.dock import adapters_page, class_table, compare_table, tips
from tilth.plugin.dock.band_match import BandMatch
from tilth.plugin.dock.library import Adapter

SAMPLE = Path(__file__).resolve().parents[2] / "resources" / "sample" / "image.tif"
EVIL = "<img src='x.png'>"


def shown(text: str) -> str:
    """What Qt shows of a text whose format it guesses; a picture would be one strange letter."""
    if not Qt.mightBeRichText(text):
        return text
    document = QTextDocument()
    document.setHtml(text)
    return document.toPlainText()


def test_the_check_would_see_a_picture(qgis_app: QgsApplication) -> None:
    assert "img" not in shown(EVIL)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain & simple > all",
        "two\nlines",
        EVIL,
        f"first\n{EVIL}\nlast",
        "grass <5 cm",
        "a < b",
        "&lt;b>bold",
        "<span>&amp;</span>",
        "'\"",
    ],
)
def test_a_text_is_shown_letter_by_letter(qgis_app: QgsApplication, text: str) -> None:
    assert shown(tips.plain(text)) == text


def test_what_holds_no_tag_stays_as_it_is() -> None:
    assert tips.plain("/data/a & b.tif\n4 bands") == "/data/a & b.tif\n4 bands"


def test_classes(qgis_app: QgsApplication) -> None:
    table = QTableWidget()
    class_table.prepare(table, ["Class", "Polygons"])
    class_table.fill(table, [class_table.ClassRow(EVIL, "#112233", "1")])
    assert table.item(0, 0).text() == EVIL
    assert shown(table.item(0, 0).toolTip()) == EVIL


def test_choices_of_a_comparison(qgis_app: QgsApplication) -> None:
    table = QTableWidget()
    compare_table.set_up(table)
    summary: Dict[str, Any] = {"choice": "a", "error": f"class {EVIL}: none"}
    compare_table.show(table, [summary], lambda name: f"{EVIL} + {name}")
    last = table.columnCount() - 1
    assert shown(table.item(0, 0).toolTip()) == f"{EVIL} + a"
    assert shown(table.item(0, last).toolTip()) == f"class {EVIL}: none"


def test_bands(qgis_app: QgsApplication) -> None:
    line = BandMatch()
    match = {"summary": f"{EVIL} used", "lines": [f"{EVIL} = RED", "B8 is not used"]}
    line.show_plan({"matching": match}, None)
    assert line.label.textFormat() == Qt.TextFormat.PlainText
    assert line.label.text() == f"Bands: {EVIL} used"
    assert shown(line.label.toolTip()) == f"{EVIL} = RED\nB8 is not used"
    line.show_refusal(f"bands: {EVIL} is not known", None, [], {})
    assert shown(line.label.toolTip()) == f"bands: {EVIL} is not known"


def test_images(dock: Any, project: QgsProject) -> None:
    layer = QgsRasterLayer(str(SAMPLE), EVIL, "gdal")
    project.addMapLayer(layer)
    dock.labels.images.set_layers([layer])
    assert shown(dock.labels.images.list.item(0).toolTip()).startswith(f"{EVIL}\n")


def test_adapters(dock: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = dock.library.folder / "a<b>c.tilth"
    adapter = Adapter(file, {"name": EVIL}, fault=f"its card {EVIL}")
    dock.library.adapters, dock.library.find = lambda: [adapter], lambda _path: adapter
    dock.library.changed.emit()

    item = dock.adapters.list.item(0)
    assert shown(item.toolTip()) == f"{file}\nits card {EVIL}"
    combo = dock.map.adapterCombo
    assert shown(combo.itemData(0, Qt.ItemDataRole.ToolTipRole)) == str(file)
    assert shown(combo.toolTip()) == str(file)
    assert shown(dock.map.adapterHint.text()) == f"its card {EVIL}"

    asked: List[str] = []

    def no(_parent: Any, _title: str, question: str) -> Any:
        asked.append(question)
        return QMessageBox.StandardButton.No

    monkeypatch.setattr(adapters_page.QMessageBox, "question", no)
    dock.adapters.removeButton.click()
    assert shown(asked[0]).splitlines()[0].startswith(f"Delete the adapter “{EVIL}”?")
    assert shown(asked[0]).splitlines()[1] == str(file)


@pytest.mark.parametrize("text", [f"“{EVIL}” is ready", "B & <10 % of\nTilth's map"])
def test_messages_in_the_bar(dock: Any, text: str) -> None:
    bar = dock.session.iface.bar
    dock.session.tell(text)
    assert wait(lambda: bar.currentItem() is not None, 10)
    assert bar.currentItem().findChild(QTextEdit).toPlainText() == f"Tilth: {text}"


def test_the_file_of_a_new_adapter(dock: Any, tmp_path: Path) -> None:
    file = tmp_path / "<b>" / "a.tilth"
    dock.train.fileWidget.setFilePath(str(file))
    assert shown(dock.train.fileWidget.toolTip()) == str(file)
