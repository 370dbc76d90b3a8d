"""The adapter file: a sound one comes back whole, a stranger's trick is one clear line."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import random
import stat
import tracemalloc
import zipfile

import pytest
import torch
from safetensors.torch import load, save
from tilth_engine import adapter_file
from tilth_engine.adapter_file import ADAPTER, CARD, CONFIG, DECODER
from tilth_engine.backbones import catalogue
from tilth_engine.backbones.inputs import Inputs
from tilth_engine.errors import TilthError
from tilth_engine.model.methods import adapt
from tilth_engine.model.methods.method import Method
from tilth_engine.predict import load_model

from .worlds import write_adapter

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return write_adapter(tmp_path_factory.mktemp("good") / "good.tilth")


@pytest.fixture(scope="module")
def parts(good):
    with zipfile.ZipFile(good) as archive:
        return {name: archive.read(name) for name in (CARD, CONFIG, ADAPTER, DECODER)}


@pytest.fixture
def packed(parts, tmp_path):
    """Makes an adapter file: other bytes of entries, and changes to the card's JSON."""

    def make(card=None, sums=True, **entries):
        data = {**parts, **{names[key]: value for key, value in entries.items()}}
        values = json.loads(data[CARD]) if isinstance(data[CARD], bytes) else data[CARD]
        if sums:
            for name in (CONFIG, ADAPTER, DECODER):
                values["files"][name] = {
                    "size": len(data[name]),
                    "sha256": hashlib.sha256(data[name]).hexdigest(),
                }
        for key, value in (card or {}).items():
            place = values
            *way, last = [int(step) if step.isdigit() else step for step in key.split("/")]
            for step in way:
                place = place[step]
            place[last] = value
        data[CARD] = json.dumps(values).encode()
        return written(data)

    def written(data, compression=zipfile.ZIP_DEFLATED):
        path = tmp_path / "odd.tilth"
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, content in data.items():
                archive.writestr(name, content)
        return str(path)

    names = {"config": CONFIG, "adapter": ADAPTER, "decoder": DECODER}
    make.written = written
    return make


def refused(path, word="."):
    """The file is refused as a whole, in one line that names it."""
    with pytest.raises(TilthError, match=word) as caught:
        load_model(path, CPU)
    text = str(caught.value)
    assert text.startswith(path)
    assert text.isprintable()
    assert len(text) < len(path) + 400


def test_what_is_written_is_read(good):
    again = adapter_file.read(good)
    model = load_model(good, CPU)

    assert again.card["name"] == "two"
    assert adapter_file.read_card(good) == again.card
    assert not any("lora" in name for name in model.segmenter.state_dict())
    assert model.segmenter(torch.zeros(1, 4, 64, 64)).shape == (1, 2, 64, 64)


def test_the_entries_are_these_and_nothing_in_them_names_this_machine(good, parts):
    with zipfile.ZipFile(good) as archive:
        assert archive.namelist() == [CARD, CONFIG, ADAPTER, DECODER]
        assert all(entry.date_time == (1980, 1, 1, 0, 0, 0) for entry in archive.infolist())
    assert b"/" not in parts[CONFIG]


def test_it_is_small_since_the_frozen_backbone_is_not_in_it(good, parts):
    assert all("lora_" in name for name in load(parts[ADAPTER]))
    assert len(parts[ADAPTER]) < 600_000


def test_peft_alone_puts_it_onto_the_plain_backbone(good, parts, tmp_path):
    """Also that merging the updates into the weights changes nothing."""
    from peft import PeftModel

    noisy = {
        name: torch.randn(tensor.shape, generator=torch.Generator().manual_seed(1)) * 0.05
        for name, tensor in load(parts[ADAPTER]).items()
    }
    (tmp_path / ADAPTER).write_bytes(save(noisy))
    (tmp_path / CONFIG).write_bytes(parts[CONFIG])
    image = torch.randn(2, 4, 32, 32, generator=torch.Generator().manual_seed(2))
    inputs = Inputs((485.0, 560.0, 660.0, 840.0))

    by_peft = PeftModel.from_pretrained(catalogue.build("embedded", inputs), str(tmp_path))
    card = adapter_file.read_card(good)
    method = Method.from_dict(card["method"])
    ours = adapt.apply(catalogue.build("embedded", inputs), method)
    adapt.restore(ours, method, noisy)
    merged = adapt.merged(ours, method)

    with torch.no_grad():
        expected = by_peft(image, [4, 8])
        plain = catalogue.build("embedded", inputs)(image, [4, 8])
        got = merged(image, [4, 8])
    for theirs, mine, without in zip(expected, got, plain, strict=True):
        torch.testing.assert_close(theirs, mine, atol=1e-4, rtol=1e-4)
        assert (theirs - without).abs().max() > 0.01


@pytest.mark.parametrize("method", ["frozen", "full"])
def test_other_methods_come_back_too(tmp_path, method):
    values = {"name": method, "rank": 16, "alpha": 16, "targets": []}
    path = write_adapter(tmp_path / "a.tilth", method=values)

    model = load_model(path, CPU)

    assert model.card["method"]["name"] == method
    assert bool(adapter_file.read(path).adapter) == (method == "full")


def test_a_place_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(TilthError, match="does not exist"):
        write_adapter(tmp_path / "missing" / "a.tilth")
    (tmp_path / "folder.tilth").mkdir()
    with pytest.raises(TilthError, match="folder"):
        write_adapter(tmp_path / "folder.tilth")

    assert [path.name for path in tmp_path.iterdir()] == ["folder.tilth"]


# The zip


def test_files_that_are_no_adapter(tmp_path, good):
    whole = open(good, "rb").read()  # noqa: SIM115, PTH123
    for name, data in {
        "empty": b"",
        "text": b"name,class\n1,2\n",
        "pickle": pickle.dumps({"a": 1}),
        "half": whole[: len(whole) // 2],
        "without its end": whole[:-30],
        "without its start": whole[1000:],
    }.items():
        path = tmp_path / f"{name}.tilth"
        path.write_bytes(data)
        refused(str(path), "zip|unpacked|sha256")
    refused(str(tmp_path / "nothing.tilth"), "no such")
    refused(str(tmp_path), "no such")


@pytest.mark.parametrize(
    "extra", ["../../evil.py", "/etc/evil", "card.json", "evil.pkl", "adapter_model.bin", "a/"]
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_other_entries_are_refused_and_nothing_is_unpacked(packed, parts, tmp_path, extra):
    path = packed()
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(extra, pickle.dumps(print))

    refused(path, "other entries")
    assert [entry.name for entry in tmp_path.iterdir()] == ["odd.tilth"]


def test_missing_entries_are_refused(packed, parts):
    refused(packed.written({name: parts[name] for name in (CARD, CONFIG, ADAPTER)}), "entries")


def test_a_pickle_in_the_place_of_weights_is_refused(packed):
    class Evil:
        def __reduce__(self):
            return (pytest.fail, ("it was unpickled",))

    refused(packed(adapter=pickle.dumps(Evil())), "safetensors")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_is_refused(packed, parts, compression):
    refused(packed.written(parts, compression), "packed")


def test_a_link_is_refused(packed, parts):
    path = packed.written({name: parts[name] for name in (CONFIG, ADAPTER, DECODER)})
    entry = zipfile.ZipInfo(CARD)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(entry, parts[CARD])

    refused(path, "link")


def test_an_encrypted_entry_is_refused(packed):
    path = packed()
    data = bytearray(open(path, "rb").read())  # noqa: SIM115, PTH123
    at = data.find(b"PK\x01\x02")
    data[at + 8] |= 1
    open(path, "wb").write(data)  # noqa: SIM115, PTH123

    refused(path, "encrypted")


def in_memory(path):
    """The peak of Python's memory while the file is refused."""
    tracemalloc.start()
    try:
        refused(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_bomb_does_not_go_off(packed):
    zeros = bytes(100_000_000)

    assert in_memory(packed(adapter=zeros)) < 20_000_000


def test_a_size_that_is_a_lie_does_not_fill_the_memory(packed, parts):
    """The table of contents states 1 kB for what unpacks to 100 MB."""
    path = packed(adapter=bytes(100_000_000), card={f"files/{DECODER}/size": 5})
    data = bytearray(open(path, "rb").read())  # noqa: SIM115, PTH123
    at = data.find(ADAPTER.encode(), data.find(b"PK\x01\x02")) - 46
    data[at + 24 : at + 28] = (1000).to_bytes(4, "little")
    open(path, "wb").write(data)  # noqa: SIM115, PTH123

    assert in_memory(path) < 20_000_000


def test_a_forged_table_of_contents_does_not_fill_the_memory(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a" * 60_000, b"")
    one = buffer.getvalue()
    start = one.find(b"PK\x01\x02")
    entry = one[start : one.find(b"PK\x05\x06")]
    table = entry * 1500
    end = bytearray(one[-22:])
    end[8:12] = (1500).to_bytes(2, "little") * 2
    end[12:16] = len(table).to_bytes(4, "little")
    path = tmp_path / "table.tilth"
    path.write_bytes(one[:start] + table + bytes(end))

    assert in_memory(str(path)) < 20_000_000


def test_weights_other_than_the_card_says_are_refused(packed):
    refused(packed(sums=False, card={f"files/{ADAPTER}/sha256": "0" * 64}), "sha256")
    refused(packed(sums=False, card={f"files/{ADAPTER}/size": 17}), "size")
    refused(packed(sums=False, card={f"files/{DECODER}/size": -1}), "size")
    refused(packed(sums=False, config=b"{}"), "size|sha256")


def test_the_config_for_peft_is_never_believed(packed):
    path = packed(config=b'{"base_model_name_or_path": "evil/evil", "r": 4096}')

    assert load_model(path, CPU).card["name"] == "two"


# The card


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        b"not json",
        b"[]",
        b"null",
        b"5",
        b"{}",
        b"[" * 100_000,
        b'{"a": ' * 500 + b"1" + b"}" * 500,
        b'{"format": NaN}',
        b'{"format": 1e999}',
        b'{"name": "\\ud800"}',
        b" " * 3_000_000 + b"{}",
    ],
)
def test_a_card_that_is_none_is_refused(packed, parts, text):
    refused(packed.written({**parts, CARD: text}), "card")


def test_a_newer_format_says_so(packed):
    refused(packed(card={"format": 2}), "newer Tilth")


HUGE = 10**400


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", 0),
        ("format", "1"),
        ("name", ""),
        ("name", 5),
        ("name", "x" * 5000),
        ("backbone", "embedded"),
        ("backbone/id", "imaginary"),
        ("backbone/sha256", "0" * 64),
        ("backbone/sha256", ""),
        ("backbone/sha256", ["a"]),
        ("classes", []),
        ("classes", {"a": 1}),
        ("classes/0", 7),
        ("classes/0/code", 2),
        ("classes/0/code", 0),
        ("classes/0/code", 70000),
        ("classes/0/code", True),
        ("classes/0/colour", "red"),
        ("classes/0/colour", "#12345g"),
        ("classes/0/colour", "#123456\n"),
        ("classes/0/value", 5),
        ("classes/0/polygons", "many"),
        ("classes/0/polygons", HUGE),
        ("classes/0/pixels", -1),
        ("created", [1, 2]),
        ("backbone/title", {"a": 1}),
        ("backbone/licence", "x" * 3000),
        ("method/name", "x" * 3000),
        ("bands", []),
        ("bands/0/wavelength_nm", "blue"),
        ("bands/0/wavelength_nm", HUGE),
        ("bands", [{"name": "a", "wavelength_nm": None}] * 3),
        ("normalisation/mean", [1.0]),
        ("normalisation/mean", [1.0, 2.0, 3.0, HUGE]),
        ("normalisation/mean", 5),
        ("normalisation/std", [1.0, 1.0, 1.0, 0.0]),
        ("normalisation/std", [1.0, 1.0, 1.0, 1e-300]),
        ("normalisation/scale", {"factor": HUGE}),
        ("normalisation/scale", [1]),
        ("chip", 63),
        ("chip", 0),
        ("chip", 136),
        ("chip", 2**20),
        ("temperature", 0),
        ("temperature", HUGE),
        ("resolution_m", HUGE),
        ("resolution_m", -1),
        ("method", "lora"),
        ("method/name", "exec"),
        ("method/rank", 10**9),
        ("method/rank", 0),
        ("method/rank", 8),
        ("method/rank", 1e999),
        ("method/alpha", HUGE),
        ("method/targets", ["attn.qkv"]),
        ("method/targets", "attn.qkv"),
        ("method/targets", ["lift.weight"]),
        ("method/targets", [".*"]),
        ("method/targets", [["attn.qkv"]]),
        ("decoder", None),
        ("decoder/name", "linear"),
        ("decoder/name", "../evil"),
        ("decoder/width", 16),
        ("decoder/width", 10**9),
        ("decoder/width", 1e999),
        ("training", None),
        ("training/seed", "now"),
        ("training/seed", -1),
        ("score", "perfect"),
        ("region_score", "perfect"),
        ("region_score", {"macro_f1": 1}),
        ("training", {"unseen_region": ["the east"]}),
        ("training/seconds", HUGE),
        ("training/seconds", 1e300),
        ("training/seconds", "long"),
        ("training/epochs", {"a": 1}),
        ("training/best_epoch", 0.5),
        ("training/polygons", HUGE),
        ("training/device", ["cpu"]),
        ("training/network_share", 2),
        ("warnings", 5),
        ("warnings", "x" * 1_000_000),
        ("warnings", [5]),
        ("warnings", ["x" * 3000]),
        ("warnings", ["x"] * 101),
        ("score", {"macro_f1": "high"}),
        ("score", {"macro_f1": 1, "mean_iou": HUGE, "overall_accuracy": 1, "per_class": []}),
        ("files", {}),
        ("files", []),
    ],
)
def test_a_card_that_lies_is_refused(packed, key, value):
    refused(packed(card={key: value}))


@pytest.mark.parametrize(
    "key",
    ["method", "method/rank", "decoder", "decoder/name", "training/seconds", "warnings", "created"],
)
def test_a_card_that_lies_to_people_is_refused_before_it_is_shown(packed, key):
    with pytest.raises(TilthError, match="its card is wrong"):
        adapter_file.read_card(packed(card={key: {"a": 1}}))


@pytest.mark.parametrize("support", [None, 1.5, -1, "many"])
def test_a_score_of_no_number_of_pixels_is_refused_before_it_is_shown(packed, support):
    row = dict.fromkeys(("iou", "f1", "users_accuracy", "producers_accuracy"), 1.0)
    score = dict.fromkeys(("overall_accuracy", "mean_iou", "macro_f1"), 1.0)
    rows = [{**row, "name": "wood", "support": support}]
    with pytest.raises(TilthError, match="its card is wrong"):
        adapter_file.read_card(packed(card={"score": {**score, "per_class": rows}}))


def test_a_card_that_grows_when_it_is_sent_on_is_refused(packed, parts):
    """Else it is no line of the protocol, and the plugin waits for it for ever."""
    values = json.loads(parts[CARD])
    values["training"]["settings"] = "HERE"
    long = ",".join(["1e15"] * 150_000)
    text = json.dumps(values).replace('"HERE"', f"[{long}]")
    assert len(text) < adapter_file.MAX_CARD < 150_000 * len("1000000000000000.0")

    refused(packed.written({**parts, CARD: text.encode()}), "too long")


def test_whatever_was_warned_of_in_a_training_can_be_read_again(tmp_path):
    """Hundreds of scenes may each give a warning, and one may name hundreds of classes."""
    warnings = ["w" * 5000, *(f"scene {number}" for number in range(150))]

    path = write_adapter(tmp_path / "a.tilth", warnings=warnings)

    kept = adapter_file.read_card(path)["warnings"]
    assert len(kept) == 100
    assert kept[0] == "w" * 1999 + "…"
    assert kept[1:] == warnings[1:100]


@pytest.mark.parametrize("part", ["adapter", "decoder"])
def test_a_training_that_came_to_no_numbers_leaves_no_file(tmp_path, part):
    tensors = {"adapter": {}, "decoder": {}, part: {"a": torch.tensor([1.0, float("nan")])}}
    with pytest.raises(TilthError, match="no numbers"):
        adapter_file.write(str(tmp_path / "a.tilth"), adapter_file.Adapter({}, **tensors), {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(packed, parts, bad):
    tensors = load(parts[DECODER])
    next(iter(tensors.values())).view(-1)[0] = bad

    refused(packed(decoder=save(tensors)), "no numbers")


def test_weights_of_another_kind_or_shape_are_refused(packed, parts):
    tensors = load(parts[ADAPTER])
    name = next(iter(tensors))
    for odd in (tensors[name].to(torch.complex64), tensors[name].int(), tensors[name].T):
        refused(packed(adapter=save({**tensors, name: odd.contiguous()})))
    refused(packed(adapter=save({**tensors, "extra": torch.zeros(2)})), "extra")
    refused(packed(adapter=save({k: v for k, v in tensors.items() if k != name})))
    refused(packed(decoder=save({"head.weight": torch.zeros(2)})), "decoder")


def test_flipped_bytes_are_found_or_harmless(good, tmp_path):
    """Whatever is flipped, only a TilthError may come out, from the card's reader too."""
    whole = open(good, "rb").read()  # noqa: SIM115, PTH123
    rng = random.Random(5)
    edges = [*range(120), *range(len(whole) - 400, len(whole))]
    path = tmp_path / "flipped.tilth"
    found = 0
    for turn in range(250):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            at = rng.choice(edges) if turn % 2 else rng.randrange(len(data))
            data[at] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        for read in (adapter_file.read, adapter_file.read_card):
            try:
                read(str(path))
            except TilthError:
                found += 1
    assert found > 250


def test_a_card_with_random_values_is_refused_or_works(packed, parts):
    """Every entry of the card, replaced by things that it is not."""
    rng = random.Random(6)
    values = json.loads(parts[CARD])
    odd = [None, True, -1, 0.5, 1e308, HUGE, "", "\x00\x1b[31m", [], {}, [[]], {"a": {}}]
    for key in leaves(values):
        path = packed(card={key: rng.choice(odd)})
        try:
            card = adapter_file.read(path).card
        except TilthError:
            continue
        if not key.startswith(("files", "training", "created", "tilth", "warnings")):
            try:
                load_model(path, CPU)
            except TilthError as error:
                assert str(error).startswith(path)
        assert card["classes"]


def leaves(value, way=""):
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{way}/{key}" if way else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield from leaves(value[0], f"{way}/0")
    else:
        yield way
