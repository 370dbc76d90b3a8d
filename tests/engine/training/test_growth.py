"""Random forests as a method: fitted, stored without pickle, the same after reading."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import torch
from sklearn.ensemble import RandomForestClassifier
from tilth_engine import adapter_file
from tilth_engine.errors import TilthError
from tilth_engine.events import Reporter
from tilth_engine.jobs import PlanJob, PredictJob
from tilth_engine.model.decoders.forest import NODES, SQUARES, ForestDecoder
from tilth_engine.model.decoders.neighbourhood import features
from tilth_engine.planning import plan
from tilth_engine.predict import predict
from tilth_engine.train import train

from ..worlds import train_job


def silent():
    return Reporter(lambda event: None)


@pytest.fixture
def job(tmp_path):
    return train_job(tmp_path, method="forest")


def planted(values, classes, trees=5, count=3, **options):
    """A forest of scikit-learn, and the decoder that holds it."""
    forest = RandomForestClassifier(trees, max_leaf_nodes=200, random_state=0, **options)
    forest.fit(values, classes)
    decoder = ForestDecoder(values.shape[1], count, trees, neighbourhood=False)
    decoder.grow([tree.tree_ for tree in forest.estimators_], forest.classes_.tolist())
    return forest, decoder


def test_the_decoder_says_what_the_forest_says():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(600, 4)).astype(np.float32)
    classes = np.where(values[:, 0] * values[:, 1] > 0, 0, 2)  # class 1 is never seen
    forest, decoder = planted(values, classes)
    image = rng.normal(size=(2, 4, 8, 6)).astype(np.float32)

    found = decoder(torch.from_numpy(image), []).exp()

    expected = forest.predict_proba(image.transpose(0, 2, 3, 1).reshape(-1, 4))
    flat = found.permute(0, 2, 3, 1).reshape(-1, 3).numpy()
    np.testing.assert_allclose(flat[:, [0, 2]], expected, atol=2e-3)
    assert flat[:, 1].max() < 1e-3


def test_a_tree_that_is_too_large_is_refused():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4000, 2)).astype(np.float32)
    forest = RandomForestClassifier(1, random_state=0).fit(values, rng.integers(0, 2, 4000))
    assert forest.estimators_[0].tree_.node_count > NODES
    with pytest.raises(ValueError, match="nodes"):
        ForestDecoder(2, 2, 1, False).grow([forest.estimators_[0].tree_], [0, 1])


@pytest.mark.parametrize(("name", "value"), [("feature", 4), ("child", 2), ("child", -1)])
def test_trees_that_lead_out_of_the_forest_are_refused(name, value):
    decoder = ForestDecoder(4, 2, 3, False)
    state = {key: tensor.clone() for key, tensor in decoder.state_dict().items()}
    state[name][1, 1] = value
    with pytest.raises(TilthError, match="trees"):
        decoder.load_state_dict(state)


def test_a_forest_of_any_size_is_read_back():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(500, 4)).astype(np.float32)
    _, decoder = planted(values, (values[:, 0] > values[:, 1]).astype(int), count=2)
    other = ForestDecoder(4, 2, 5, False)
    other.load_state_dict(decoder.state_dict())
    image = torch.from_numpy(rng.normal(size=(1, 4, 8, 8)).astype(np.float32))
    assert torch.equal(other(image, []), decoder(image, []))


def test_trees_in_a_ring_come_to_an_end():
    decoder = ForestDecoder(1, 2, 1, False)
    decoder.feature[:] = 0
    assert torch.isfinite(decoder(torch.zeros(1, 1, 4, 4), [])).all()


def test_neighbourhood_features_are_means_and_spreads_of_squares():
    image = torch.randn(1, 2, 9, 9, generator=torch.Generator().manual_seed(0))
    found = features(image, SQUARES)
    assert found.shape == (1, 10, 9, 9)
    square = image[0, 1, 2:7, 3:8]
    torch.testing.assert_close(found[0, 7, 4, 5], square.mean())
    torch.testing.assert_close(found[0, 9, 4, 5], square.std(correction=0))


@pytest.mark.parametrize("method", ["forest", "forest-neighbourhood"])
def test_a_forest_is_trained_scored_stored_and_maps(job, tmp_path, method):
    job.method = method
    result = train(job, silent())

    card = adapter_file.read_card(job.out)
    assert card["backbone"]["id"] == "none" and card["decoder"]["name"] == method
    assert result["score"]["macro_f1"] > 0.9 and result["epochs"] == 1
    out = str(tmp_path / "map.tif")
    predict(PredictJob(adapter=job.out, images=job.images, out=out, threads=1), silent())
    with rasterio.open(out) as dataset:
        codes = dataset.read(1)
    half = codes.shape[1] // 2
    assert (codes[:, : half - 8] == 1).mean() > 0.9 and (codes[:, half + 8 :] == 2).mean() > 0.9


def test_the_same_seed_grows_the_same_forest(job, tmp_path):
    train(job, silent())
    first = adapter_file.read_card(job.out)["files"]
    job.out = str(tmp_path / "again.tilth")
    train(job, silent())
    assert adapter_file.read_card(job.out)["files"] == first


def test_a_plan_knows_baselines(job):
    told = plan(PlanJob(job), silent())
    assert told["seconds"] < 60 and "forest" in told["text"].lower()
