"""Weights from the hub and from files, against a hub on this machine; nothing is mocked."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import namedtuple

import pytest
import timm
import torch
from safetensors.torch import save
from tilth_engine import cli, weights
from tilth_engine.backbones import catalogue, fetch, store
from tilth_engine.backbones.inputs import Inputs
from tilth_engine.describe import describe
from tilth_engine.errors import Cancelled, TilthError
from tilth_engine.events import Reporter, silent
from tilth_engine.jobs import AddJob, DescribeJob, FetchJob, PredictJob, RemoveJob
from tilth_engine.predict import Models, predict

from . import tiny_models, worlds
from .hub_server import COMMIT, Hub

Room = namedtuple("Room", "total used free")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub with the tiny model, the only one that this process sees."""
    monkeypatch.setenv("TILTH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(fetch, "RETRY_SECONDS", 0.01)
    card = tiny_models.card()
    tiny_models.install(monkeypatch, tmp_path / "cards", card)
    made = Hub()
    monkeypatch.setenv("HF_ENDPOINT", made.url)
    made.publish(card.repository, card.file, tiny_models.saved(tiny_models.tensors(card)))
    yield made
    made.close()


@pytest.fixture
def change(monkeypatch, tmp_path):
    """Put the tiny model's card into the catalogue with other values."""

    def install(**values):
        card = tiny_models.card(**values)
        tiny_models.install(monkeypatch, tmp_path / "cards", card)
        return card

    return install


def data_of(hub):
    return hub.files[tiny_models.REPOSITORY, tiny_models.FILE]


def run(backbone="tiny", **options):
    events = []
    result = weights.fetch_weights(FetchJob(backbone, **options), Reporter(events.append))
    return result, events


def refused(pattern, job, verb=weights.fetch_weights):
    with pytest.raises(TilthError, match=pattern) as caught:
        verb(job, silent())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def left(folder):
    """Every file below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_download_is_checked_converted_and_stored_once(hub, tmp_path):
    result, events = run()

    card = catalogue.card_of("tiny")
    digest = hashlib.sha256(data_of(hub)).hexdigest()
    assert (result["sha256"], result["verified"], result["revision"]) == (digest, "hub", COMMIT)
    assert left(store.folder(card)) == ["record.json", "weights.safetensors"]
    record = json.loads((store.folder(card) / "record.json").read_text())
    assert record["source"]["revision"] == COMMIT
    assert record["dropped"] == ["head.weight"]
    stored = (store.folder(card) / "weights.safetensors").read_bytes()
    assert record["stored"]["sha256"] == hashlib.sha256(stored).hexdigest()
    assert store.identity(card) == digest
    # What is not used is told.
    assert any("head" in str(event.get("message")) for event in events)
    fractions = [event["fraction"] for event in events if event["event"] == "progress"]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    backbone = catalogue.build("tiny", Inputs.all_of(card))
    expected = tiny_models.tensors(card)["blocks.1.attn.qkv.weight"]
    assert torch.equal(backbone.network.blocks[1].attn.qkv.weight, expected)
    # The bytes are always asked from a commit, never from a branch that may move.
    assert not [path for _, path, _ in hub.requests if "/resolve/main" in path]


def test_the_command_fetches_lists_and_removes(hub, capsys):
    assert cli.main(["backbones", "fetch", "tiny"]) == 0
    text, told = capsys.readouterr()
    assert "tiny: Tiny" in text
    assert COMMIT in text
    assert "Not used of the file: head" in told
    assert "tiny" in listed(capsys)["Ready to use"]
    cli.main(["backbones", "show", "tiny", "--json"])
    shown = json.loads(capsys.readouterr().out)["result"]
    assert shown["present"]
    assert shown["record"]["source"]["file"] == tiny_models.FILE
    assert cli.main(["backbones", "remove", "tiny"]) == 0
    assert "removed" in capsys.readouterr().out
    found = listed(capsys)
    assert "tiny" not in found["Ready to use"]
    assert "tiny" in found["Weights to get: tilth backbones fetch ID"]


def listed(capsys):
    """The backbones under each of the headings of `tilth backbones`."""
    cli.main(["backbones"])
    parts = capsys.readouterr().out.strip().split("\n\n")[1:]
    lines = [part.splitlines() for part in parts]
    return {first: {line.split()[0] for line in rest} for first, *rest in lines}


def test_a_second_fetch_asks_nobody(hub):
    run()
    before = len(hub.requests)
    result, _ = run()
    assert len(hub.requests) == before
    assert result["backbone"] == "tiny"


def test_damaged_weights_are_refused_and_fetched_again(hub):
    run()
    card = catalogue.card_of("tiny")
    path = store.folder(card) / store.WEIGHTS
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(TilthError, match=r"damaged.*tilth backbones fetch tiny"):
        store.read(card)
    run()
    assert path.read_bytes() == good


def test_a_pinned_revision_is_the_one_that_is_fetched(hub, change):
    change(revision=COMMIT)
    run()
    assert not [path for _, path, _ in hub.requests if path.startswith("/api/")]
    store.remove(catalogue.card_of("tiny"))
    change(revision="f" * 40)
    refused("no models/tiny.pth in acme/tiny", FetchJob("tiny"))


def test_a_cut_line_is_mended_where_it_broke(hub):
    hub.cuts = [1000, 0, 30_000]
    result, _ = run()
    assert result["sha256"] == hashlib.sha256(data_of(hub)).hexdigest()
    assert hub.gets() == ["", "bytes=1000-", "bytes=1000-", "bytes=31000-"]


def test_a_server_without_ranges_is_asked_for_the_whole_again(hub):
    hub.cuts, hub.ranges = [1000], False
    assert run()[0]["sha256"] == hashlib.sha256(data_of(hub)).hexdigest()


def test_a_line_that_stays_cut_leaves_what_came_for_the_next_time(hub):
    hub.cuts = [5000] + [0] * 20
    refused(r"can't be reached.*backbones add", FetchJob("tiny"))
    hub.cuts.clear()
    hub.requests.clear()
    run()
    assert hub.gets() == ["bytes=5000-"]


def test_cancel_ends_within_two_seconds_and_keeps_only_the_part(hub):
    hub.stalled.set()
    wish = threading.Event()
    seen = []

    def listen(event):
        seen.append(event)
        if event["event"] == "progress" and event["fraction"] > 0.2:
            wish.set()

    started = time.monotonic()
    with pytest.raises(Cancelled):
        weights.fetch_weights(FetchJob("tiny"), Reporter(listen, wish.is_set))
    # Many times what it takes: the line itself would be silent for half a minute.
    assert time.monotonic() - started < 15
    assert any("MB" in event["message"] for event in seen)
    folder = store.folder(catalogue.card_of("tiny"))
    (part,) = left(folder)
    size = (folder / part).stat().st_size
    assert 0 < size < len(data_of(hub))
    hub.stalled.clear()
    hub.freed.set()
    hub.requests.clear()
    run()
    assert hub.gets() == [f"bytes={size}-"]


def test_cancel_while_the_weights_are_stored_leaves_nothing_half_written(hub):
    class Impatient(Reporter):
        def progress(self, fraction, message, seconds_left=None):
            if "Storing" in message:
                raise Cancelled
            super().progress(fraction, message, seconds_left)

    with pytest.raises(Cancelled):
        weights.fetch_weights(FetchJob("tiny"), Impatient(lambda event: None))
    card = catalogue.card_of("tiny")
    assert not store.present(card)
    (part,) = left(store.folder(card))
    assert part.startswith("download")


def test_a_file_that_arrives_other_than_stated_is_thrown_away(hub):
    hub.sha256 = "e" * 64
    refused("arrived damaged", FetchJob("tiny"))
    assert left(store.folder(catalogue.card_of("tiny"))) == []


def test_a_file_that_is_not_the_cards_is_not_even_downloaded(hub, change):
    change(sha256="d" * 64)
    refused("has another models/tiny.pth now", FetchJob("tiny"))
    assert hub.gets() == []


def test_the_wrong_file_in_the_right_place_is_refused_and_leaves_nothing(hub):
    other = tiny_models.card(width=48)
    hub.publish(other.repository, other.file, tiny_models.saved(tiny_models.tensors(other)))
    message = refused("not the weights of 'tiny'", FetchJob("tiny"))
    assert "expected" in message
    assert left(store.folder(other)) == []


@pytest.mark.parametrize(
    ("fault", "pattern"),
    [
        (lambda hub: hub.files.clear(), "the hub has no models/tiny.pth in acme/tiny"),
        (lambda hub: hub.publish("acme/tiny", "x", hub.files.popitem()[1]), "the hub has no"),
        (lambda hub: hub.gated.add("acme/tiny"), "an account that has accepted its terms"),
        (lambda hub: setattr(hub, "status", 503), "status 503; try later"),
        (lambda hub: hub.close(), "can't be reached"),
    ],
)
def test_what_the_hub_refuses_is_one_clear_line(hub, fault, pattern, monkeypatch):
    fault(hub)
    assert "backbones add tiny" in refused(pattern, FetchJob("tiny"))


def test_offline_nobody_is_asked(hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refused("HF_HUB_OFFLINE is set.*backbones add tiny --file", FetchJob("tiny"))
    assert hub.requests == []


def test_a_full_disk_is_noticed_before_anything_is_downloaded(hub, monkeypatch):
    room = Room(10**12, 10**12, len(data_of(hub)))
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda path: room)
    refused("MB are free; make room", FetchJob("tiny"))
    assert hub.gets() == []


def test_a_proxy_is_gone_through(hub, monkeypatch):
    # The hub stands for a proxy: a request through one names the whole address.
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    refused("hub has no|can't be reached", FetchJob("tiny", proxy=hub.url))
    assert any(path.startswith("http://hub.invalid/") for _, path, _ in hub.requests)


def test_a_licence_that_binds_is_accepted_first(hub, change):
    change(binding=True, licence="Strict licence", licence_url="https://example.org/strict")
    refused(r"Strict licence \(https://example.org/strict\).*--accept-licence", FetchJob("tiny"))
    assert hub.requests == []
    run(accept_licence=True)


def test_models_of_timm_are_described_when_they_are_named(hub):
    found = describe(DescribeJob(["timm:test_vit", "timm:no_such"]))
    (card,) = [card for card in found["backbones"] if card["id"].startswith("timm:")]
    assert card["id"].startswith("timm:test_vit.")
    assert card["needed"] and not card["present"]
    assert "no model 'no_such'" in found["unknown"]["timm:no_such"]


def test_a_model_of_timm_is_fetched_from_timms_own_repository(hub):
    card = catalogue.card_of("timm:test_vit")
    network = timm.create_model("test_vit", pretrained=False)
    hub.publish(card.repository, card.file, save(network.state_dict()))
    result, _ = run("timm:test_vit")
    assert card.repository.startswith("timm/")
    assert result["backbone"] == card.id
    backbone = catalogue.build("timm:test_vit", Inputs.all_of(card))
    assert torch.equal(
        backbone.network.blocks[0].attn.qkv.weight, network.blocks[0].attn.qkv.weight
    )
    # From now on it is listed without being named, and once where it is.
    for job in (DescribeJob(), DescribeJob(["timm:test_vit"])):
        found = [card for card in describe(job)["backbones"] if card["id"].startswith("timm:")]
        assert [(card["id"], card["present"]) for card in found] == [(card.id, True)]


def test_two_at_once_do_not_write_one_file(hub):
    with (
        store.exclusive(catalogue.card_of("tiny")),
        pytest.raises(TilthError, match="another Tilth"),
    ):
        # As another process would.
        weights.fetch_weights(FetchJob("tiny"), silent())


def test_models_that_need_nothing_have_nothing_to_fetch(hub, change):
    refused("needs no weights", FetchJob("embedded"))
    change(options={**tiny_models.card().options, "random": True})
    refused("needs no weights", FetchJob("tiny"))
    change(architecture="")
    refused("can't run it yet", FetchJob("tiny"))
    change(repository="")
    refused("it is on no hub.*backbones add", FetchJob("tiny"))


def test_a_file_is_added_and_stays(hub, tmp_path):
    file = tmp_path / "from a colleague.pth"
    file.write_bytes(data_of(hub))
    result = weights.add_weights(AddJob("tiny", str(file)), silent())
    assert result["sha256"] == hashlib.sha256(data_of(hub)).hexdigest()
    assert result["dropped"] == ["head"]
    assert file.is_file()
    assert hub.requests == []
    assert weights.state(catalogue.card_of("tiny"))["present"]
    assert weights.remove_weights(RemoveJob("tiny"))["freed"] > 0
    for backbone, pattern in (("tiny", "nothing to remove"), ("embedded", "part of Tilth")):
        with pytest.raises(TilthError, match=pattern):
            weights.remove_weights(RemoveJob(backbone))


def test_an_added_file_that_fits_but_is_not_the_published_one_is_told(hub, change, tmp_path):
    change(sha256="d" * 64)
    file = tmp_path / "mine.pth"
    file.write_bytes(data_of(hub))
    reporter = silent()
    result = weights.add_weights(AddJob("tiny", str(file)), reporter)
    assert "not the published" in reporter.warnings[0]
    # Adapters name the weights that they were really made with.
    assert store.identity(catalogue.card_of("tiny")) == result["sha256"] != "d" * 64


def test_an_adapter_knows_the_weights_that_it_was_made_with(hub, tmp_path):
    job = worlds.train_job(tmp_path, backbone="tiny", epochs=1)
    with pytest.raises(TilthError, match="not on this machine; download them"):
        worlds.Run(job)
    run()
    card = worlds.Run(job).result["card"]
    assert card["backbone"]["sha256"] == hashlib.sha256(data_of(hub)).hexdigest()
    mapping = PredictJob(job.out, job.images, str(tmp_path / "map.tif"), device="cpu")
    models = Models()
    predict(mapping, silent(), models)
    # The same network with other values is another backbone.
    file = tmp_path / "other.pth"
    file.write_bytes(tiny_models.saved(tiny_models.tensors(tiny_models.card(), seed=1)))
    weights.add_weights(AddJob("tiny", str(file)), silent())
    with pytest.raises(TilthError, match="made with other weights of the backbone 'tiny'"):
        predict(mapping, silent())
    with pytest.raises(TilthError, match="made with other weights of the backbone 'tiny'"):
        predict(mapping, silent(), models)  # which keeps the network
    weights.remove_weights(RemoveJob("tiny"))
    with pytest.raises(TilthError, match="not on this machine"):
        predict(mapping, silent())


def test_adding_needs_a_file_that_is_there(hub, tmp_path):
    refused("does not exist", AddJob("tiny", str(tmp_path / "none.pth")), weights.add_weights)
    refused("this is a folder", AddJob("tiny", str(tmp_path)), weights.add_weights)


@pytest.mark.parametrize("name", ["galileo_nano/encoder.pt", "presto/default_model.pt"])
def test_real_files_load_as_published(name, scenes, monkeypatch, tmp_path):
    file = scenes.parent / "weights" / name
    if not file.is_file():
        pytest.skip(f"{name} is not beside the clone")
    monkeypatch.setenv("TILTH_HOME", str(tmp_path))
    backbone = {"galileo_nano": "galileo-nano", "presto": "presto"}[name.split("/")[0]]
    result = weights.add_weights(AddJob(backbone, str(file)), silent())
    assert result["verified"] == "card"
    card = catalogue.card_of(backbone)
    catalogue.build(backbone, Inputs.all_of(card))
    assert result["dropped"]
