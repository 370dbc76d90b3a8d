"""An image's bands by date and group: what is there, what is filled in, what is computed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tilth_engine.backbones import catalogue
from tilth_engine.backbones.dated import DatedBands, month_codes, months, ndvi, on_sphere
from tilth_engine.backbones.inputs import Inputs

CARD = catalogue.card_of("galileo-nano")
NAMES = [band.name for band in CARD.bands]


def inputs(*names: str | None, **options) -> Inputs:
    """Inputs of bands by their names; None is a band that the card doesn't know."""
    places = tuple(None if name is None else NAMES.index(name) for name in names)
    return Inputs((None,) * len(names), places, **options)


def standardised(values: dict[str, float]) -> torch.Tensor:
    """A pixel [1, C, 1, 1] of values in the card's units."""
    figures = [(value - CARD.mean[NAMES.index(name)]) / CARD.std[NAMES.index(name)]
               for name, value in values.items()]  # fmt: skip
    return torch.tensor(figures)[None, :, None, None]


def test_values_come_back_in_their_units_and_missing_ones_are_the_mean():
    bands = DatedBands(CARD, inputs("B3", "B2", None))
    image = torch.cat([standardised({"B3": 900.0, "B2": 700.0}), torch.ones(1, 1, 1, 1)], 1)
    values = bands(image)[0, 0, :, 0, 0]
    assert values[NAMES.index("B3")].item() == pytest.approx(900, rel=1e-5)
    assert values[NAMES.index("B2")].item() == pytest.approx(700, rel=1e-5)
    assert values[NAMES.index("B4")].item() == pytest.approx(CARD.mean[NAMES.index("B4")])
    assert bands.frames == {"S2_RGB": [0]}


@pytest.mark.parametrize("place", [-1, len(NAMES)])
def test_a_band_that_the_card_lacks_is_told(place):
    with pytest.raises(ValueError, match=f"band {place} of the card, which has {len(NAMES)}"):
        DatedBands(CARD, Inputs((None, None), (0, place)))


def test_ndvi_is_computed_from_physical_values():
    bands = DatedBands(CARD, inputs("B4", "B8"))
    assert set(bands.frames) == {"S2_RGB", "S2_NIR_10m", "NDVI"}
    image = standardised({"B4": 500.0, "B8": 3500.0})
    index = bands(image)[0, 0, NAMES.index("NDVI"), 0, 0]
    assert index.item() == pytest.approx(0.75, abs=1e-5)


def test_ndvi_of_the_image_itself_is_preferred():
    bands = DatedBands(CARD, inputs("B4", "B8", "NDVI"))
    image = standardised({"B4": 500.0, "B8": 3500.0, "NDVI": 0.2})
    assert bands(image)[0, 0, -1, 0, 0].item() == pytest.approx(0.2, abs=1e-5)


def test_without_physical_values_there_is_no_ndvi():
    bands = DatedBands(CARD, inputs("B4", "B8", own_statistics=True))
    assert set(bands.frames) == {"S2_RGB", "S2_NIR_10m"}
    assert set(DatedBands(CARD, inputs("B8", "B2")).frames) == {"S2_RGB", "S2_NIR_10m"}


def test_ndvi_has_bounds():
    red = torch.tensor([0.0, -5.0, 100.0, -90.0])
    infrared = torch.tensor([0.0, 2.0, 300.0, 100.0])
    assert ndvi(red, infrared).tolist() == [0.0, 0.0, 0.5, 1.0]


def test_dates_are_kept_apart_and_a_group_is_there_when_it_is_there():
    bands = DatedBands(CARD, inputs("B8", "B11", "B8", frames=(1, 0, 0)))
    assert bands.frames == {"S2_NIR_10m": [0, 1], "S2_SWIR": [0]}
    image = torch.tensor([1.0, 2.0, 3.0])[None, :, None, None]
    values = (bands(image) - bands.mean) / bands.std
    assert values[0, :, NAMES.index("B8"), 0, 0].tolist() == pytest.approx([3, 1], abs=1e-3)
    assert values[0, :, NAMES.index("B11"), 0, 0].tolist() == pytest.approx([2, 0], abs=1e-3)


def test_two_bands_that_are_the_same_are_averaged():
    bands = DatedBands(CARD, inputs("B8", "B8"))
    image = torch.tensor([1.0, 2.0])[None, :, None, None]
    value = ((bands(image) - bands.mean) / bands.std)[0, 0, NAMES.index("B8"), 0, 0]
    assert value.item() == pytest.approx(1.5, abs=1e-3)


def test_inputs_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="none of its bands"):
        DatedBands(CARD, inputs(None, None))
    count = CARD.several_dates + 1
    with pytest.raises(ValueError, match="25 dates, but it takes 24"):
        DatedBands(CARD, inputs(*["B8"] * count, frames=tuple(range(count))))


def test_months_come_from_the_dates():
    three = Inputs((None,) * 3, frames=(0, 1, 2), dates=("2024-01-31", "", "2024-12-01"))
    assert months(three).tolist() == [0, 6, 11]
    one = Inputs((None,), dates=("2024-01-31",))
    assert months(one).tolist() == [6]
    assert months(replace(one, time_location=True)).tolist() == [0]
    assert months(Inputs((None,))).tolist() == [6]
    codes = month_codes(torch.tensor([0, 3, 6]), 4)
    expected = torch.tensor([[0.0, 0, 1, 1], [1, 1, 0, 0], [0, 0, -1, -1]])
    torch.testing.assert_close(codes, expected, atol=1e-6, rtol=0)


def test_places_are_points_on_a_sphere():
    expected = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    found = torch.stack([on_sphere(place) for place in ((0.0, 0.0), (90.0, 0.0), (7.0, 90.0))])
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
