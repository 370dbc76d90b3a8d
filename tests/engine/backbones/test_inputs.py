"""What an image is to a backbone: what is kept, what is refused, what the backbone sees of it."""

from __future__ import annotations

import json

import pytest
from tilth_engine.backbones.inputs import Inputs

TWO_DATES = Inputs(
    (490.0, 665.0, 490.0, 665.0),
    (0, 1, 0, 1),
    (0, 0, 1, 1),
    ("2024-05-01", "2024-08-01"),
    (7.5, 47.0),
    True,
    10.0,
    2.0,
    (2,),
)


def test_inputs_survive_json():
    again = Inputs.from_dict(json.loads(json.dumps(TWO_DATES.to_dict())))

    assert again == TWO_DATES
    assert Inputs.from_dict({**Inputs((None,)).to_dict()}) == Inputs((None,))


def test_the_backbone_sees_what_is_not_left_out():
    seen = TWO_DATES.seen()

    assert TWO_DATES.picks == (0, 1, 3)
    assert seen.wavelengths == (490.0, 665.0, 665.0)
    assert (seen.bands, seen.frames, seen.left_out) == ((0, 1, 1), (0, 0, 1), ())
    assert (seen.dates, seen.zoom, seen.location) == (TWO_DATES.dates, 2.0, (7.5, 47.0))


def test_a_date_of_which_nothing_is_seen_goes():
    seen = Inputs(
        (490.0,) * 3, (0, 0, 0), (0, 1, 2), ("2024-01-01", "", "2024-03-01"), left_out=(1,)
    ).seen()

    assert seen.frames == (0, 1)
    assert seen.dates == ("2024-01-01", "2024-03-01")


@pytest.mark.parametrize("left_out", [(0, 1), (5,), (-1,), (0, 0)])
def test_bands_left_out_must_be_some_of_them(left_out):
    with pytest.raises(ValueError, match="left out"):
        Inputs((490.0, 665.0), left_out=left_out)


def test_a_number_of_dates_that_would_fill_the_memory_is_refused():
    with pytest.raises(ValueError, match="dates"):
        Inputs((490.0,), (0,), (10**12,))
