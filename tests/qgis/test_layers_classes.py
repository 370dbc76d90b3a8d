"""The classes that a label layer shows, and new label layers."""

from __future__ import annotations

import pytest
from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsFillSymbol,
    QgsGeometry,
    QgsInvertedPolygonRenderer,
    QgsRendererCategory,
    QgsRuleBasedRenderer,
    QgsVectorLayer,
)
from tilth.plugin.engine.errors import TilthError
from tilth.plugin.engine.jobs import ClassStyle
from tilth.plugin.layers import labels

CLASSES = [("Wood", "#228833"), ("Wasser/Öd", "#4477aa")]


def layer_of(kind, values):
    layer = QgsVectorLayer(f"Polygon?field=id:integer&field=lc:{kind}", "l", "memory")
    features = []
    for number, value in enumerate(values):
        feature = QgsFeature(layer.fields())
        feature.setAttributes([number, value])
        feature.setGeometry(QgsGeometry.fromWkt("Polygon((0 0, 1 0, 1 1, 0 0))"))
        features.append(feature)
    layer.dataProvider().addFeatures(features)
    return layer


def symbol(colour):
    return QgsFillSymbol.createSimple({"color": colour})


def category(value, label, colour):
    return QgsRendererCategory(value, symbol(colour), label)


def test_styles_of_a_categorised_layer():
    layer = layer_of("integer", [1, 2])
    entries = [
        category(1, "Forest", "#228833"),
        category(2, "  ", "10,20,30,80"),
        category("", "all other values", "#ffffff"),
    ]
    layer.setRenderer(QgsCategorizedSymbolRenderer("lc", entries))
    wanted = [ClassStyle("1", "Forest", "#228833"), ClassStyle("2", "2", "#0a141e")]
    assert labels.styles(layer, "lc") == wanted
    assert labels.styles(layer, "id") == []
    layer.setRenderer(QgsCategorizedSymbolRenderer('"lc"', entries))
    assert labels.styles(layer, "lc") == wanted
    layer.setRenderer(QgsInvertedPolygonRenderer(QgsCategorizedSymbolRenderer("lc", entries)))
    assert labels.styles(layer, "lc") == wanted


@pytest.mark.parametrize("values", [(True, False), ("true", "false")])
def test_styles_of_a_boolean_field(values):
    """QGIS reads categories of a kept project as text."""
    layer = layer_of("bool", [True, False])
    colours = ("#112233", "#445566")
    entries = [category(value, "", colour) for value, colour in zip(values, colours)]
    layer.setRenderer(QgsCategorizedSymbolRenderer("lc", entries))
    assert labels.styles(layer, "lc") == [
        ClassStyle("true", "true", "#112233"), ClassStyle("false", "false", "#445566"),
    ]  # fmt: skip
    assert labels.class_values(layer, "lc").counts == [("false", 1), ("true", 1)]


def test_a_category_of_several_values():
    layer = layer_of("string", ["a", "b"])
    entries = [category(["a", "b"], "Both", "#112233"), category("b", "Later", "#445566")]
    layer.setRenderer(QgsCategorizedSymbolRenderer("lc", entries))
    both = [ClassStyle("a", "Both", "#112233"), ClassStyle("b", "Both", "#112233")]
    assert labels.styles(layer, "lc") == both


def test_styles_of_simple_rules():
    layer = layer_of("string", ["a", "b"])
    root = QgsRuleBasedRenderer.Rule(None)
    for expression, label in [
        ("\"lc\" = 'a'", "Class A"),
        ("lc = 'b' AND id > 3", "not simple"),
        ("id = 3", "another field"),
        ("not an expression (", "broken"),
        ("ELSE", "rest"),
    ]:
        root.appendChild(
            QgsRuleBasedRenderer.Rule(symbol("#abcdef"), filterExp=expression, label=label)
        )
    layer.setRenderer(QgsRuleBasedRenderer(root))
    assert labels.styles(layer, "lc") == [ClassStyle("a", "Class A", "#abcdef")]


def test_a_single_symbol_says_nothing():
    assert labels.styles(layer_of("string", []), "lc") == []


def test_class_fields_with_the_likeliest_first():
    uri = "Polygon?field=area:double&field=lc_class:integer&field=remark:string&field=type:string"
    layer = QgsVectorLayer(uri, "l", "memory")
    names = [(field.name, field.kind) for field in labels.class_fields(layer)]
    assert names == [
        ("type", "text"), ("lc_class", "integer"), ("remark", "text"), ("area", "number"),
    ]  # fmt: skip
    layer.setRenderer(QgsCategorizedSymbolRenderer("remark", []))
    assert labels.class_fields(layer)[0].name == "remark"


def test_class_values_are_counted_in_order():
    found = labels.class_values(layer_of("integer", [10, 9, 10, None]), "lc")
    assert found.counts == [("9", 1), ("10", 2)]
    assert found.without_class == 1 and found.complete
    texts = labels.class_values(layer_of("string", ["b", "a", " ", ""]), "lc")
    assert texts.counts == [("a", 1), ("b", 1)] and texts.without_class == 2
    layer = layer_of("string", ["b", "a"])
    layer.selectByIds([1])
    assert labels.class_values(layer, "lc", only_selected=True).counts == [("b", 1)]
    assert labels.class_values(layer, "none").counts == []


def test_counting_stops_in_time():
    found = labels.class_values(layer_of("integer", list(range(2000))), "lc")
    assert not found.complete and len(found.counts) <= 501
    assert not labels.class_values(layer_of("integer", [1] * 5000), "lc", seconds=0.0).complete


def draw(layer, name):
    layer.startEditing()
    feature = QgsFeature(layer.fields())
    feature["class"] = name
    feature.setGeometry(QgsGeometry.fromWkt("MultiPolygon(((0 0, 1 0, 1 1, 0 0)))"))
    assert layer.addFeature(feature)
    assert layer.commitChanges()


def test_a_new_label_layer_in_a_file(tmp_path):
    path = tmp_path / "meine Labels.gpkg"
    crs = QgsCoordinateReferenceSystem("EPSG:25832")
    layer = labels.new_label_layer(str(path.with_suffix("")), crs, CLASSES)
    assert layer.name() == "meine Labels" and layer.crs() == crs
    draw(layer, "Wood")
    # Opened again, it looks the same.
    again = QgsVectorLayer(f"{path}|layername=labels", "again", "ogr")
    assert again.featureCount() == 1
    assert labels.styles(again, "class") == [
        ClassStyle(name, name, colour) for name, colour in CLASSES
    ]
    setup = again.editorWidgetSetup(again.fields().lookupField("class"))
    assert setup.type() == "ValueMap"
    assert setup.config()["map"] == [{name: name} for name, _ in CLASSES]
    with pytest.raises(TilthError, match="is there already"):
        labels.new_label_layer(str(path), crs, CLASSES)


def test_a_new_label_layer_in_memory():
    layer = labels.new_label_layer("", QgsCoordinateReferenceSystem("EPSG:4326"), CLASSES)
    draw(layer, "Wasser/Öd")
    assert layer.providerType() == "memory" and layer.crs().authid() == "EPSG:4326"
    assert [style.colour for style in labels.styles(layer, "class")] == ["#228833", "#4477aa"]
    plain = labels.new_label_layer("", QgsCoordinateReferenceSystem(), [])
    assert plain.isValid() and labels.styles(plain, "class") == []


def test_a_new_label_layer_that_cant_be_written(tmp_path):
    with pytest.raises(TilthError, match="could not be written"):
        labels.new_label_layer(
            str(tmp_path / "no" / "labels.gpkg"), QgsCoordinateReferenceSystem("EPSG:4326"), []
        )
