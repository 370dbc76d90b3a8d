"""Choosing a backbone and getting its weights: with the real engine, and a hub on this machine."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
from pathlib import Path
from typing import Any, Iterator

import pytest
from dock_window import shown_dock, wait
from qgis.PyQt.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget
from tilth.plugin.dock import backbone_choice, backbone_facts, layer_names
from tilth.plugin.dock.backbone_panel import BackbonePanel
from tilth.plugin.dock.dock_widget import TRAIN
from tilth.plugin.dock.licence_dialog import LicenceDialog
from tilth.plugin.engine.errors import TilthError

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT.parent / "shared" / "data" / "weights" / "galileo_nano" / "encoder.pt"
ENGINE = os.environ.get("TILTH_PYTHON", "")
Hub = runpy.run_path(str(ROOT / "tests" / "engine" / "hub_server.py"))["Hub"]
REPOSITORY, FILE = "nasaharvest/galileo", "models/nano/encoder.pt"

CARDS = [
    {"id": "embedded", "title": "Embedded", "runs": True, "present": True, "any_bands": True},
    {"id": "far", "title": "Far", "runs": True, "needed": True, "present": False},
    {"id": "near", "title": "Near", "runs": True, "needed": True, "present": True},
    {"id": "unet", "title": "U-Net", "runs": True, "needed": False, "present": False},
    {"id": "olmo", "title": "Olmo", "runs": False, "needed": False, "present": False},
]


@pytest.fixture(scope="module")
def hub() -> Iterator[Any]:
    made = Hub()
    yield made
    made.close()


@pytest.fixture(scope="module")
def page(hub: Any, tmp_path_factory: Any) -> Iterator[Any]:
    """The Train page of a dock whose engine has told what it has."""
    if not ENGINE:
        pytest.skip("there is no engine: TILTH_PYTHON is not set")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TILTH_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("HF_ENDPOINT", hub.url)
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        with shown_dock() as dock:
            dock.show_page(TRAIN)
            assert wait(lambda: dock.session.description and not dock.session.asking)
            yield dock.train


@pytest.fixture
def choice(page: Any) -> Iterator[Any]:
    """Its backbone, with nothing going on."""
    found = page.options.backbone
    yield found
    found.cancel()
    assert wait(lambda: found.task is None)
    found.choose("embedded")
    page.notice.clear()


def ended(choice: Any) -> bool:
    return wait(lambda: choice.task is None)


def test_models_stand_under_what_can_be_done_with_them() -> None:
    groups = backbone_facts.grouped(CARDS)
    ids = [[card["id"] for card in group] for _, group in groups]
    assert ids == [["embedded", "near"], ["far"], ["unet", "none"], ["olmo"]]


@pytest.mark.parametrize(
    ("size", "text"), [(0, "1 MB"), (4_189_406, "4 MB"), (1_216_000_000, "1.2 GB"), (None, "1 MB")]
)
def test_sizes_as_people_say_them(size: Any, text: str) -> None:
    assert backbone_facts.size_text(size) == text


def test_facts_are_text_and_no_mark_up() -> None:
    card = {"source": "a < b", "licence": "<b>", "licence_url": "https://x/?a=1&b=2"}
    html = backbone_facts.html(card)
    assert "<b>" not in html
    assert "a=1&amp;b=2" in html


def test_a_licence_is_accepted_by_hand_only(qgis_app: Any) -> None:
    dialog = LicenceDialog({"title": "M", "licence": "Strict", "licence_url": "https://x"})
    assert "Strict" in dialog.text.text()
    assert not dialog.accept_button.isEnabled()
    dialog.box.setChecked(True)
    assert dialog.accept_button.isEnabled()
    dialog.accept_button.click()
    assert dialog.result() == LicenceDialog.DialogCode.Accepted


def test_the_embedded_one_is_chosen_and_first(page: Any, choice: Any) -> None:
    combo = page.backboneCombo
    assert choice.current == "embedded"
    assert combo.itemData(1) == "embedded"
    # Headings can't be chosen.
    assert not combo.model().item(0).isEnabled()
    choice.check()
    assert not choice.panel.download_button.isVisible()
    assert page.options.job().backbone == "embedded"


def test_every_model_says_what_it_needs(page: Any, choice: Any) -> None:
    for card in page.session.backbones():
        choice.choose(card["id"])
        assert choice.current == card["id"]
        text = choice.panel.facts.text()
        assert card["licence"].split(":")[0] in text
        assert "million parameters" in text
        assert choice.panel.isVisibleTo(page)
    choice.choose("prithvi-2-300m-tl")
    assert "Not on this computer" in choice.panel.state.text()
    assert "GB" in choice.panel.download_button.text()
    choice.choose(backbone_facts.NO_BACKBONE)
    assert page.options.job().backbone == "none"


def test_what_is_not_here_can_be_planned_and_not_trained(page: Any, choice: Any) -> None:
    choice.choose("presto")
    assert page.options.job().backbone == "presto"
    with pytest.raises(TilthError, match="not on this computer: add its file first"):
        page.options.check_weights()
    page.train()
    assert "add its file first" in page.notice.text()
    choice.choose("olmoearth-nano")
    with pytest.raises(TilthError, match="listed only"):
        page.options.job()


def test_a_baseline_needs_no_weights(page: Any, choice: Any) -> None:
    choice.choose("presto")
    before = "lora"
    page.options.choose({"method": "forest"})
    try:
        page.options.check_weights()
        assert page.options.job().settled().backbone == "none"
    finally:
        page.options.choose({"method": before})


def test_the_layers_that_can_be_chosen_are_those_that_the_engine_knows(page: Any) -> None:
    script = (
        "import json, runpy, sys; runpy.run_path(sys.argv[1])\n"
        "from tilth_engine.backbones import catalogue\n"
        "from tilth_engine.model.methods.targets import role\n"
        "cards = catalogue.cards().items()\n"
        "print(json.dumps({n: [role(t) for t in c.lora_targets] for n, c in cards}))"
    )
    launch = ROOT / "plugin" / "engine" / "launch.py"
    told = subprocess.run([ENGINE, "-c", script, str(launch)], capture_output=True, check=True)
    parts = {"qkv": ("q", "k", "v"), "": ()}
    for backbone, roles in json.loads(told.stdout).items():
        card = next(card for card in page.session.backbones() if card["id"] == backbone)
        expected = {part for role in roles for part in parts.get(role, (role,))}
        assert set(layer_names.layers_of(card)) == expected, backbone


@pytest.mark.parametrize("width", [170, 230, 420])
def test_it_fits_a_narrow_dock(qgis_app: Any, width: int) -> None:
    holder = QScrollArea()
    holder.setFrameShape(QFrame.Shape.NoFrame)
    holder.setWidgetResizable(True)
    inner = QWidget()
    column = QVBoxLayout(inner)
    column.setContentsMargins(0, 0, 0, 0)
    panel = BackbonePanel(inner)
    column.addWidget(panel)
    holder.setWidget(inner)
    card = {**CARDS[1], "repository": "a/b", "size_bytes": 1.3e9, "licence": "L " * 60}
    card["bands"] = [{"name": f"B{number}"} for number in range(40)]
    panel.show_card(card, busy=False)
    holder.resize(width, 1500)
    holder.show()
    wait(lambda: False, 0.05)
    assert panel.width() == width
    for button in (panel.download_button, panel.file_button):
        assert button.isVisible()
        assert button.geometry().right() < max(width, button.sizeHint().width())
        assert button.width() >= button.sizeHint().width()
    holder.close()


def test_a_wrong_file_is_refused_on_the_page(page: Any, choice: Any, tmp_path: Path) -> None:
    file = tmp_path / "wrong.pt"
    file.write_text("<html>")
    choice.choose("presto")
    choice.add(str(file))
    assert choice.panel.cancel_button.isVisibleTo(page)
    assert ended(choice)
    assert "this is a web page" in page.notice.text()
    assert choice.panel.file_button.isVisibleTo(page)


def test_a_refused_licence_downloads_nothing(
    page: Any, choice: Any, hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(backbone_choice.LicenceDialog, "exec", lambda self: asked.append(1) or 0)
    choice.choose("dinov3-sat-large")
    hub.requests.clear()
    choice.panel.download_button.click()
    assert asked and choice.task is None and not hub.requests


def test_cancel_stops_a_download(page: Any, choice: Any, hub: Any) -> None:
    data = WEIGHTS.read_bytes() if WEIGHTS.is_file() else bytes(3_000_000)
    hub.publish(REPOSITORY, FILE, data)
    choice.choose("galileo-nano")
    hub.sha256 = choice.card()["sha256"]
    hub.stalled.set()
    choice.panel.download_button.click()
    assert wait(lambda: "MB" in choice.panel.doing.text())
    choice.panel.cancel_button.click()
    assert ended(choice)
    assert not choice.card()["present"]
    assert page.notice.text() == ""
    hub.stalled.clear()
    hub.freed.set()
    hub.sha256 = None


def test_a_missing_file_is_one_line_on_the_page(page: Any, choice: Any, hub: Any) -> None:
    hub.files.clear()
    choice.choose("galileo-nano")
    choice.download()
    assert ended(choice)
    assert "the hub has no models/nano/encoder.pt" in page.notice.text()


@pytest.mark.skipif(not WEIGHTS.is_file(), reason="Galileo's weights are not beside the clone")
def test_downloaded_weights_are_used_and_removed(page: Any, choice: Any, hub: Any) -> None:
    hub.publish(REPOSITORY, FILE, WEIGHTS.read_bytes())
    choice.choose("galileo-nano")
    choice.panel.download_button.click()
    assert ended(choice)
    assert choice.card()["present"]
    assert "On this computer" in choice.panel.state.text()
    assert page.options.job().backbone == "galileo-nano"
    assert page.backboneCombo.findData("galileo-nano") < page.backboneCombo.findData("presto")
    choice.remove()
    assert ended(choice)
    assert not choice.card()["present"]


def test_a_model_of_timm_is_named_and_remembered(page: Any, choice: Any) -> None:
    choice.name_another("test_vit")
    assert ended(choice)
    assert choice.current.startswith("timm:test_vit.")
    assert choice.panel.download_button.isVisibleTo(page)
    assert choice.current in backbone_choice.settings.text("backbones/named").split()
    choice.name_another("no_such_model")
    assert ended(choice)
    assert "no model 'no_such_model'" in page.notice.text()
