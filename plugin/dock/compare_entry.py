"""One of what is compared: entries of a training that are its own, its name, and how it is told."""

from __future__ import annotations

from typing import Any, Callable, Dict

from qgis.PyQt.QtCore import QCoreApplication

from ..engine.compare_job import Choice
from ..engine.jobs import TrainJob
from ..engine.method_list import BASELINES
from . import method_choice
from .method_fields import DEFAULTS, OF_METHOD

Values = Dict[str, Any]


def _tr(text: str) -> str:
    return QCoreApplication.translate("CompareEntry", text)


def name_of(values: Values) -> str:
    """The name of a choice as the command line writes it: "presto:lora,decoder=unet,rank=8"."""
    first = ":".join(filter(None, (values.get("backbone"), values["method"])))
    others = [f"{name}={_as_text(values[name])}" for name in _OTHERS if name in values]
    return ",".join([first, *others])


def title_of(values: Values, backbone_title: Callable[[str], str]) -> str:
    """A choice in words: "LoRA on Presto, U-Net, rank 8"."""
    title = method_choice.title(values["method"])
    if "backbone" not in values:
        return title
    backbone = backbone_title(values["backbone"])
    parts = [_tr("{} on {}").format(title.split(" (")[0], backbone.split(" (")[0])]
    return ", ".join([*parts, *(_words(name, values[name]) for name in _OTHERS if name in values)])


def choice_of(values: Values, page_backbone: str) -> Choice:
    """For a job whose training is that of the Train page. What was added says all of its entries,
    but the match of bands, which the user made for the page's backbone."""
    if "backbone" not in values:
        return Choice(name_of(values), dict(values))
    around = {name: value for name, value in DEFAULTS.items() if name not in OF_METHOD}
    full = {"decoder": "slim", **around, **values}
    if values["backbone"] != page_backbone:
        full["matching"] = []
    return Choice(name_of(values), full)


def for_page(values: Values, train: TrainJob) -> Values:
    """What the Train page has to be set to for a choice of a comparison whose training this was: a
    method alone was tried on that training's backbone, whatever the page says by now."""
    if "backbone" in values or values["method"] in BASELINES:
        return values
    around = {name: getattr(train, name) for name in DEFAULTS if name not in OF_METHOD}
    return {"backbone": train.backbone, "decoder": train.decoder, **around, **values}


# In one order, so that the same choice always has the same name.
_OTHERS = ("decoder", *DEFAULTS)


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "+".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _words(name: str, value: Any) -> str:
    forms = {
        "rank": _tr("rank {}"),
        "alpha": _tr("alpha {}"),
        "dropout": _tr("dropout {}"),
        "targets": _tr("layers {}"),
        "prompts": _tr("{} prompts"),
        "image_branch": _tr("without the image"),
        "zoom": _tr("enlarged {} ×"),
        "time_location": _tr("told date and place"),
    }
    if name == "decoder":
        return _tr("decoder {}").format(method_choice.decoder_title(value))
    if name == "normalisation":
        return _tr("model's figures") if value == "card" else _tr("image's figures")
    return forms[name].format(_as_text(value).replace("+", " "))
