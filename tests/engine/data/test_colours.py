"""Colours of classes that come without one."""

from __future__ import annotations

from tilth_engine.data import colours


def test_names_that_say_what_a_class_is_get_the_usual_colour():
    water, forest = colours.spread(["Open water", "mixed forest"])

    assert water == colours.usual("lake") and forest == colours.usual("woodland")
    assert colours.usual("rice") == "" and colours.usual("7") == ""


def test_no_two_classes_share_a_colour():
    names = ["lake-deep", "lake-interior", "forest", "wood", *map(str, range(60))]

    found = colours.spread(names)

    assert len(set(found)) == len(names)
    assert all(colours.is_colour(colour) for colour in found)
