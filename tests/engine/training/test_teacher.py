"""What the usual classifiers say of the landscape, and how a branch learns it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tilth_engine.errors import Cancelled
from tilth_engine.model.decoders.linear_opinion import LinearOpinion
from tilth_engine.model.decoders.local import SIDES, LocalBranch
from tilth_engine.model.decoders.neighbourhood import feature_count, features
from tilth_engine.training.discriminant import Discriminant, ranks_among
from tilth_engine.training.neighbourhood import features_at
from tilth_engine.training.samples import Samples
from tilth_engine.training.study import feature_jitter, study
from tilth_engine.training.teacher import (
    TOKENS,
    Labelled,
    named_opinions,
    nearness,
    opinions,
    soft_labels,
)
from tilth_engine.training.thinning import thinned

BANDS = 2
COUNT = feature_count(BANDS, SIDES)


def pixels(count: int, seed: int = 0) -> np.ndarray:
    """Features [N, F] as those of standardised pixels, spreads positive."""
    values = np.random.default_rng(seed).normal(size=(count, COUNT)).astype(np.float32)
    for place in range(len(SIDES)):
        spreads = slice(BANDS * (2 + 2 * place), BANDS * (3 + 2 * place))
        values[:, spreads] = np.abs(values[:, spreads])
    return values


def opinion(values, classes, polygons=3, count=3, around=None, step=lambda: None):
    """With so many polygons a class, each a part of its pixels."""
    around = pixels(500, seed=9) if around is None else around
    units = (classes * polygons + np.arange(len(classes)) % polygons).astype(np.int32)
    return soft_labels(Labelled(values, classes, units), around, BANDS, SIDES, count, 0, step)


def test_the_opinion_is_of_the_landscape_first_and_adds_up_to_one():
    values = pixels(200)
    around = pixels(300, seed=1)
    found, chances = opinion(values, (values[:, 0] > 0).astype(int) * 2, around=around)

    np.testing.assert_array_equal(found[:300], around)
    assert len(found) == len(chances) == 500
    np.testing.assert_allclose(chances.sum(1), 1, rtol=1e-5)
    assert (chances[:, 1] == 0).all(), "no pixel of the second class was labelled"
    sure = np.abs(around[:, 0]) > 0.5
    assert ((chances[:300].argmax(1) == 2) == (around[:, 0] > 0))[sure].mean() > 0.95


@pytest.mark.parametrize("found", [0, 1])
def test_where_no_land_was_found_the_labelled_pixels_teach(found):
    values = pixels(200)
    taught, chances = opinion(values, (values[:, 0] > 0).astype(int), around=pixels(found))
    assert len(taught) == len(chances) == found + 200


def test_a_linear_classifier_counts_the_less_the_more_polygons_there_are():
    values = pixels(80)
    around = pixels(2000, seed=1)
    middle = values.mean()
    classes = (values.mean(1) > middle).astype(int)
    truth = around.mean(1) > middle
    few, many = (opinion(values, classes, n, 2, around)[1][:2000] for n in (1, 40))

    right = [(chances.argmax(1) == truth).mean() for chances in (few, many)]
    assert right[0] > right[1] + 0.02, "the truth is linear"


def test_polygons_give_as_many_pixels_however_large_they_are():
    units = np.repeat([1, 2, 3], [1000, 20, 4]).astype(np.int32)
    values = units[:, None].astype(np.float32)
    alike = Labelled(values, units.astype(int) % 2, units).alike(np.random.default_rng(0))
    assert np.unique(alike.units, return_counts=True)[1].tolist() == [20, 20, 20]
    assert (alike.values[:, 0] == alike.units).all() and (alike.classes == alike.units % 2).all()


@pytest.mark.parametrize("count", [1, 4])
def test_a_class_of_very_few_pixels_is_found_where_it_is_plain(count):
    """Among some polygons of two large classes, and in land where it is as plain as they."""
    rng = np.random.default_rng(0)
    classes = np.concatenate([np.arange(3000) % 2, np.full(count, 2)])
    shifts = np.array([[-4.0, 0.0], [4.0, 0.0], [0.0, 9.0]])

    def drawn(classes, seed):
        values = pixels(len(classes), seed) / 2
        bands = np.repeat(shifts[classes], feature_count(1, SIDES), 1).reshape(len(classes), 2, -1)
        places = [0, 1, *(BANDS * (1 + 2 * i) + b for i in range(len(SIDES)) for b in range(BANDS))]
        values[:, places] += bands[:, [place % BANDS for place in places], 0]
        return values.astype(np.float32)

    there = rng.integers(0, 3, 600)
    units = np.where(classes == 2, 99, np.arange(len(classes)) % 40).astype(np.int32)
    labelled = Labelled(drawn(classes, 1), classes, units)
    _, chances = soft_labels(labelled, drawn(there, 2), BANDS, SIDES, 3, 0)
    right = chances[:600].argmax(1) == there
    assert min(right[there == one].mean() for one in range(3)) > 0.9


def test_thinning_leaves_some_of_each_class():
    classes = np.repeat([0, 1, 2], [100_000, 40, 500])
    places = thinned(classes, 2000, np.random.default_rng(0))
    found = np.bincount(classes[places])
    assert found.sum() == 2000 == len(np.unique(places))
    assert found[1] == 40 and 200 <= found[2] < 220
    assert sorted(thinned(classes[:50], 60, np.random.default_rng(0))) == list(range(50))


def test_pixels_without_tokens_teach_all_but_the_discriminant_on_tokens():
    values = pixels(200)
    classes = (values[:, 0] > 0).astype(int)
    noise = np.random.default_rng(2).normal(size=(200, 4))
    tokens = np.where(classes, 1.0, -1.0)[:, None] + noise / 4
    tokens[20:] = np.nan
    land = np.concatenate([pixels(50, seed=1), np.ones((50, 4), np.float32)], 1)
    units = np.arange(200, dtype=np.int32) % 8
    labelled = Labelled(np.concatenate([values, tokens], 1).astype(np.float32), classes, units)
    learnt = {o.name: len(np.unique(o.labelled.values[:, 0], axis=0))
              for o in opinions(labelled, land, BANDS, SIDES, 0)}  # fmt: skip
    assert learnt.pop("discriminant on tokens") <= 20
    assert len(learnt) == 10 and min(learnt.values()) > 100

    rule = LinearOpinion(4, 2)
    taught, chances = soft_labels(labelled, land, BANDS, SIDES, 2, 0, opinions_of={TOKENS: rule})
    assert len(taught) == 50 + 20 and np.isfinite(taught).all() and np.isfinite(chances).all()
    assert rule.weight.any()


def test_of_a_unit_with_several_classes_each_gives_as_many():
    """A label raster may be one unit: no class may be missed by chance."""
    classes = np.repeat([0, 1], [2000, 5])
    labelled = Labelled(classes[:, None].astype(np.float32), classes, np.ones(2005, np.int32))
    found = labelled.alike(np.random.default_rng(0)).classes
    assert np.bincount(found).tolist() == [1002, 1002]
    assert labelled.polygons() == 1


def test_a_discriminant_is_no_surer_beyond_what_was_labelled():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 2)).astype(np.float32)
    model = Discriminant()
    model.fit(values, (values[:, 0] > 0).astype(int))
    edge, far = model.predict_proba(np.array([values.max(0), [1e6, 1e6]], np.float32))
    np.testing.assert_allclose(far, edge)


def test_ranks_tell_classes_apart_where_a_few_values_are_far_from_all_others():
    rng = np.random.default_rng(0)
    land = np.exp(3 * rng.normal(size=(4000, 2))).astype(np.float32)
    classes = (np.log(land[:, 0]) + 0.5 * rng.normal(size=4000) > 0).astype(int)
    right = []
    for model in (Discriminant(), Discriminant(ranks_among(land))):
        model.fit(land[:200], classes[:200])
        right.append((model.predict_proba(land[200:]).argmax(1) == classes[200:]).mean())
    assert right[1] > 0.9 and right[1] > right[0] + 0.1


@pytest.mark.parametrize("known", [(0, 2), (0, 1, 2)])
def test_the_discriminant_on_tokens_is_the_same_as_a_layer(known):
    rng = np.random.default_rng(0)
    classes = np.array(known)[np.arange(90) % len(known)]
    values = rng.normal(size=(90, 5)) + 2 * classes[:, None] * [1, 0, -1, 0, 0]
    model = Discriminant()
    model.fit(values, classes)
    layer = LinearOpinion(5, 3)
    layer.take(model.rule())
    asked = 5 * rng.normal(size=(40, 5))

    tokens = torch.from_numpy(asked).float()[:, :, None, None]
    found = layer(tokens, torch.zeros(40, 1, 2, 2))[:, :, 1, 0].numpy()
    np.testing.assert_allclose(found[:, list(known)], model.predict_proba(asked), atol=0.02)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)


def test_a_discriminant_of_pixels_that_are_nearly_one_is_held_to_what_a_file_holds():
    rng = np.random.default_rng(0)
    classes = np.arange(40) % 2
    values = 1e-4 * rng.normal(size=(40, 5)) + 30 * classes[:, None] * [1, 0, -1, 0, 0]
    model = Discriminant()
    model.fit(values, classes)
    layer = LinearOpinion(5, 2)
    layer.take(model.rule())
    tokens = torch.from_numpy(values).float()[:, :, None, None]
    found = layer(tokens, tokens)[:, :, 0, 0]
    assert all(value.isfinite().all() for value in (layer.weight, layer.bias, found))
    assert (found.argmax(1).numpy() == classes).all() and found.max(1).values.min() > 0.99


def test_what_tokens_tell_is_in_the_opinion_and_the_branch_learns_it():
    rng = np.random.default_rng(0)
    values, around = pixels(600), pixels(3000, seed=1)
    tokens = [rng.normal(size=(len(v), 6)).astype(np.float32) for v in (values, around)]
    table, land = (np.concatenate(pair, 1) for pair in zip((values, around), tokens, strict=True))
    classes = (tokens[0][:, 0] > 0).astype(int)
    branch = LocalBranch(BANDS, 2, dim=6)
    units = np.arange(600, dtype=np.int32) % 6
    found, chances = soft_labels(Labelled(table, classes, units), land, BANDS, SIDES, 2, 0,
                                 opinions_of=named_opinions(branch))  # fmt: skip
    truth = tokens[1][:, 0] > 0
    assert (chances[:3000].argmax(1) == truth).mean() > 0.7, "the bands tell nothing"

    study(branch, torch.from_numpy(found), torch.from_numpy(chances), 0, 1.0, lambda: None)
    asked = branch.with_opinions(torch.from_numpy(land))
    with torch.no_grad():
        said = branch.judge(asked.T[None, :, :, None])[0, :, :, 0].argmax(0).numpy()
    assert (said == truth).mean() > 0.7


def test_far_from_the_labels_the_discriminants_count_less_unless_polygons_are_few():
    values = pixels(300)
    asked = np.concatenate([values[:10], values[:10] + 5, pixels(500, seed=1)])
    classes = np.zeros(300, int)

    def counted(polygons):
        units = (np.arange(300) % polygons).astype(np.int32)
        return nearness(Labelled(values, classes, units), asked, BANDS)

    assert (counted(3) == 1).all()
    many = counted(30)
    np.testing.assert_allclose(many[:10], 1)
    np.testing.assert_allclose(many[10:20], 0.01)


def test_a_class_of_a_pixel_or_two_is_taken():
    values = pixels(40)
    classes = np.zeros(40, int)
    classes[:2] = 1
    found, chances = opinion(values, classes, count=2)
    rare = (found[:, None] == values[:2]).all(2).any(1)
    assert rare.sum() == 2 and chances[rare, 1].min() > 2 * chances[~rare, 1].mean()


def test_it_can_be_cancelled_between_the_classifiers():
    def cancel():
        raise Cancelled

    with pytest.raises(Cancelled):
        opinion(pixels(40), np.arange(40) % 2, step=cancel)


def test_the_local_branch_learns_what_lies_around_a_pixel():
    values = torch.from_numpy(pixels(4000))
    texture = values[:, BANDS * 6]  # the spread of the first band in the largest square
    chances = torch.stack([texture <= 0.7, texture > 0.7], 1).float()
    torch.manual_seed(0)
    branch = LocalBranch(BANDS, 2)
    study(branch, values, chances, 0, 1.0, lambda: None)

    fresh = branch.with_opinions(torch.from_numpy(pixels(1000, seed=5)))
    with torch.no_grad():
        answer = branch.judge(fresh[:, :, None, None])[:, :, 0, 0].argmax(1)
    assert ((fresh[:, BANDS * 6] > 0.7).long() == answer).float().mean() > 0.9


def test_the_branch_computes_the_features_of_an_image_itself():
    torch.manual_seed(0)
    branch = LocalBranch(BANDS, 3, discriminants=False)
    image = torch.randn(2, BANDS, 16, 16)
    torch.testing.assert_close(branch(image), branch.judge(features(image, SIDES)))


def test_the_branch_is_told_what_the_discriminants_say():
    values, land = pixels(200), pixels(400, seed=1)
    classes = (values[:, 0] + values[:, 5] > 0).astype(int)
    labelled = Labelled(values, classes, np.arange(200, dtype=np.int32) % 8)
    branch = LocalBranch(BANDS, 2)
    soft_labels(labelled, land, BANDS, SIDES, 2, 0, opinions_of=named_opinions(branch))
    told = branch.with_opinions(torch.from_numpy(land)).numpy()
    # In the order that they are drawn in, as `soft_labels` thins them.
    some = labelled.some(len(values), np.random.default_rng(0))
    pixels_known = np.concatenate([land, some.values])
    said = {o.name: o.chances(land, 2) for o in opinions(some, pixels_known, BANDS, SIDES, 0)}

    np.testing.assert_array_equal(told[:, :COUNT], land)
    for place, name in enumerate(("3", "5", "3, 5, 9")):
        columns = slice(COUNT + 2 * place, COUNT + 2 * place + 2)
        np.testing.assert_allclose(told[:, columns], said["discriminant " + name], atol=0.02)


def test_light_changes_bands_and_means_alike_and_keeps_spreads_positive():
    values = torch.from_numpy(pixels(300))
    generator = torch.Generator().manual_seed(0)
    values = torch.cat([values, torch.rand(300, 4)], 1)
    assert torch.equal(feature_jitter(values, COUNT, generator, 0.0), values)
    values[:, :BANDS] = values[:, BANDS : 2 * BANDS]
    changed = feature_jitter(values, COUNT, generator, 0.3)
    assert torch.equal(changed[:, COUNT:], values[:, COUNT:]), "what is said of tokens stays"
    step = (changed - values)[:, : 2 * BANDS]
    same = step[:, :BANDS] - step[:, BANDS:]  # the noise alone
    assert 0.02 < same.std() < 0.04 and step.std() > 0.1
    assert (changed[:, 2 * BANDS : 3 * BANDS] >= 0).all()


def test_features_of_places_are_those_of_the_whole_image():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(BANDS, 64, 64)).astype(np.float16).astype(np.float32)
    samples = Samples(16, BANDS)

    def read_image(index, row, column, size):
        padded = np.pad(image, ((0, 0), (64, 64), (64, 64)))
        part = padded[:, row + 64 : row + 64 + size, column + 64 : column + 64 + size]
        return part, np.ones(part.shape[1:], bool)

    def read_labels(index, row, column, size):
        return np.ones((size, size), np.uint8), np.ones((size, size), np.int32)

    samples.fill([(0, 1, 1), (0, 1, 2), (0, 2, 1), (0, 2, 2)], read_image, read_labels,
                 lambda done, of: None)  # fmt: skip
    places = np.array([[0, 16, 16], [0, 31, 32], [0, 40, 20]])
    whole = features(torch.from_numpy(image)[None], SIDES)[0].numpy()

    found = features_at(samples, places, SIDES)

    np.testing.assert_allclose(found, whole[:, places[:, 1], places[:, 2]].T, atol=2e-3)
    np.testing.assert_array_equal(
        features_at(samples, places, ()), image[:, places[:, 1], places[:, 2]].T
    )
