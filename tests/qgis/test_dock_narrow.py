"""The dock at its least width, with QGIS's usual letters and with large ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterator

import pytest
from dock_window import wait
from qgis.core import Qgis
from qgis.PyQt.QtGui import QColor, QFontMetrics, QImage, QTextDocument
from qgis.PyQt.QtWidgets import QComboBox, QFormLayout, QPushButton
from tilth.plugin.dock import card_view
from tilth.plugin.dock.dock_widget import ADAPTERS, LABELS, MAP, TRAIN
from tilth.plugin.dock.elide import Elider
from tilth.plugin.dock.library import Adapter
from tilth.plugin.dock.notice import LOOKS, TINT
from tilth.plugin.engine.errors import TilthError

NARROW = 340
POLICY = QFormLayout.RowWrapPolicy
CARD = {
    "warnings": ["two polygons <only>"],
    "classes": [{"name": name, "polygons": 12} for name in ("bare soil", "broadleaf forest")],
    "score": {"macro_f1": 0.9, "per_class": [{"name": "bare soil", "f1": 0.58}]},
}


@pytest.fixture
def narrow(dock: Any) -> Iterator[Any]:
    """The dock alone, as narrow as it gets."""
    dock.setFloating(True)
    dock.resize(NARROW, 900)
    yield dock


def _letters(dock: Any, points: int) -> None:
    """As QGIS sets the size of its letters: by the window's style sheet."""
    dock.setStyleSheet(f"* {{ font-size: {points}pt }}")
    wait(lambda: False, 0.1)


@pytest.mark.parametrize("points", [9, 14])
@pytest.mark.parametrize("page", [LABELS, TRAIN, MAP])
def test_pages_fit_without_scrolling_sideways(narrow: Any, page: int, points: int) -> None:
    _letters(narrow, points)
    narrow.show_page(page)
    shown = (narrow.labels, narrow.train, narrow.map)[page]
    if page == TRAIN:
        shown.advancedGroup.setCollapsed(False)
        shown.outcome.show()
    wait(lambda: False, 0.1)

    assert narrow.width() == NARROW
    assert shown.scroll.widget().width() <= shown.scroll.viewport().width()
    for button in shown.scroll.findChildren(QPushButton):
        assert not button.isVisible() or button.width() >= button.sizeHint().width()


def test_labels_go_above_their_fields_with_large_letters(narrow: Any) -> None:
    page = narrow.train
    narrow.show_page(TRAIN)
    _letters(narrow, 14)
    assert page.modelForm.rowWrapPolicy() == POLICY.WrapAllRows
    assert page.advancedForm.rowWrapPolicy() == POLICY.WrapAllRows
    assert page.nameEdit.y() > page.nameLabel.y()

    narrow.resize(700, 900)
    wait(lambda: False, 0.1)
    assert page.modelForm.rowWrapPolicy() == POLICY.DontWrapRows


PLAN = {
    "text": "Trains a LoRA adapter on Tilth embedded (small, any bands) (0.393 M parameters,"
    " decoder 0.649 M): 7 classes, 50 polygons (3609 pixels; 14 polygons held out to score), on"
    " CPU (2 threads), about 3 min at most.",
    "brief": "7 classes, 50 polygons (14 polygons held out to score), about 3 min at most.",
    "matching": {"summary": "8 of the image's 8 used; the model takes any", "lines": ["B02"]},
    "image": {"scale": "reflectance x 10000"},
}


def test_the_plan_says_what_matters_where_there_is_little_room(narrow: Any) -> None:
    page, plan = narrow.train, narrow.train.planLabel
    page.options.check_weights = lambda: None
    narrow.show_page(TRAIN)
    _letters(narrow, 14)
    page.planner.planned.emit(PLAN)
    wait(lambda: False, 0.1)
    assert plan.text() == PLAN["brief"]
    assert plan.toolTip() == PLAN["text"]
    assert page.bands.label.text() == "Bands: 8 of the image's 8 used"
    assert page.bands.label.toolTip().endswith("Values: reflectance x 10000\nB02")
    assert plan.height() + page.bands.height() < page.height() / 5

    narrow.resize(700, 900)
    wait(lambda: False, 0.1)
    assert plan.text() == PLAN["text"] and not plan.toolTip()
    assert page.bands.label.text().endswith("Values: reflectance x 10000")


def test_what_is_to_be_done_is_said_however_little_room_there_is(narrow: Any) -> None:
    page, words = narrow.train, "The weights are not on this computer: download them. " * 4

    def check() -> None:
        raise TilthError(words)

    page.options.check_weights = check
    narrow.show_page(TRAIN)
    _letters(narrow, 14)
    page.planner.planned.emit(PLAN)
    wait(lambda: False, 0.1)
    assert page.planLabel.text() == f"{PLAN['brief']}\n\n{words}"
    page.planner.refused.emit(words)
    assert page.planLabel.text() == words


def test_the_engine_s_buttons_are_whole(narrow: Any) -> None:
    _letters(narrow, 14)
    panel = narrow.panel
    panel.engine.mark_broken("it does not start")
    wait(lambda: False, 0.1)
    for button in (panel.installButton, panel.ownButton):
        assert button.isVisible() and button.width() >= button.sizeHint().width()
    assert panel.text.height() >= panel.text.heightForWidth(panel.text.width())


def test_an_engine_that_can_not_be_used_does_not_look_as_if_all_were_well(dock: Any) -> None:
    amber = ",".join(map(str, QColor(LOOKS[Qgis.MessageLevel.Warning][1]).getRgb()[:3]))
    assert amber not in dock.panel.styleSheet()
    dock.panel.engine.mark_broken("it does not start")
    assert f"rgba({amber},{TINT})" in dock.panel.styleSheet()


@pytest.mark.parametrize("points", [9, 14])
def test_figures_on_a_card_are_not_broken(qgis_app: Any, points: int) -> None:
    font = qgis_app.font()
    font.setPointSize(points)
    document = QTextDocument()
    document.setDefaultFont(font)
    adapter = Adapter(Path("fields.tilth"), card=CARD)
    document.setHtml(card_view.html(adapter, "", QFontMetrics(font)))
    document.setTextWidth(290)
    lines = {}
    block = document.begin()
    while block.isValid():
        document.documentLayout().blockBoundingRect(block)
        lines[block.text()] = block.layout().lineCount()
        block = block.next()
    assert {lines[text] for text in ("0.58", "F1", "Polygons", "12")} == {1}
    assert "⚠ two polygons <only>" in lines


def test_what_stands_back_on_a_card_has_the_theme_s_colour(dock: Any) -> None:
    page = dock.adapters
    dock.setStyleSheet("QTextBrowser { color: #102030 }")
    dock.show_page(ADAPTERS)
    wait(lambda: False, 0.05)
    assert "rgba(16, 32, 48" in page.card.document().defaultStyleSheet()
    assert "color:#" not in card_view.html(Adapter(Path("a")), "", page.card.fontMetrics())


def _picture(combo: QComboBox) -> QImage:
    combo.resize(120, combo.sizeHint().height())
    return combo.grab().toImage()


@pytest.mark.parametrize("text", ["short", "LoRA (a small adapter of a large model)"])
def test_a_text_without_room_in_a_combo_ends_in_dots(qgis_app: Any, text: str) -> None:
    plain, elided, dotted = QComboBox(), QComboBox(), QComboBox()
    elided.installEventFilter(Elider(elided))
    for combo in (plain, elided):
        combo.addItem(text)
    if text == "short":
        assert _picture(elided) == _picture(plain)
        return
    assert _picture(elided) != _picture(plain)
    words = [text[:end] + "…" for end in range(len(text))]
    dotted.addItems(words)
    pictures = []
    for row in range(len(words)):
        dotted.setCurrentIndex(row)
        pictures.append(_picture(dotted))
    assert _picture(elided) in pictures
