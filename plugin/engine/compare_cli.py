"""The command ``tilth compare``."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

from . import jobs, train_cli
from .compare_job import VARIED, Choice, CompareJob
from .errors import TilthError

USUAL = ("forest", "forest-neighbourhood", "alone", "frozen", "lora")


def add_parser(verbs: Any, common: Callable[[argparse.ArgumentParser], None]) -> None:
    """Add the command to the others; `common` adds the options that all have."""
    parser = verbs.add_parser("compare", help="train several choices on one split; leaves a table")
    train_cli.add_images(parser)
    train_cli.add_labels(parser)
    group = parser.add_argument_group("what is compared")
    group.add_argument(
        "--choice",
        dest="choices",
        action="append",
        default=[],
        metavar="[BACKBONE:]METHOD[,ENTRY=VALUE...]",
        help="may be repeated, for example lora, presto:frozen or lora,rank=8,targets=q+v "
        f"(default: {', '.join(USUAL)})",
    )
    group.add_argument("--backbone", default="embedded", help="of choices that name none")
    group.add_argument("--decoder", default="slim", choices=jobs.DECODERS)
    run = parser.add_argument_group("the runs")
    run.add_argument("--seeds", type=int, default=3, help="runs of each choice (default: 3)")
    run.add_argument("--epochs", type=int, help="of each run")
    run.add_argument("--minutes", type=float, help="of each run at most (default: 1)")
    train_cli.add_split(run, [name for name in jobs.SPLITS if name != "none"])
    out = parser.add_argument_group("what it leaves")
    out.add_argument("--out", default="", metavar="FOLDER", help="for each choice's best adapter")
    out.add_argument(
        "--report",
        default="",
        metavar="REPORT.html|.json|.csv",
        help="a second call with the same report goes on where the first one ended",
    )
    common(parser)
    parser.set_defaults(make=_job)


def _job(options: argparse.Namespace) -> CompareJob:
    train_cli.need_class_field(options)
    names = {item.name for item in dataclasses.fields(jobs.TrainJob)} - {"out", "report"}
    values = {name: value for name, value in vars(options).items() if name in names}
    if options.minutes is None and options.epochs is None:
        values["minutes"] = 1.0
    choices = [choice_of(text) for text in options.choices or USUAL]
    base = jobs.TrainJob(out="", **values)
    return CompareJob(base, choices, options.seeds, options.out, options.report)


def choice_of(text: str) -> Choice:
    """The choice that a text such as ``presto:lora,rank=8`` describes. Raises TilthError."""
    first, *others = (part.strip() for part in text.split(","))
    backbone, _, method = first.rpartition(":")
    values: dict[str, Any] = {"method": method}
    if backbone:
        values["backbone"] = backbone
    kinds = {item.name: str(item.type) for item in dataclasses.fields(jobs.TrainJob)}
    for part in others:
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or name not in VARIED:
            raise TilthError(
                f"choice {text!r}: {part!r} is no ENTRY=VALUE; entries are {', '.join(VARIED)}"
            )
        if name in values:
            raise TilthError(f"choice {text!r}: {name} is there twice; leave one of them out")
        values[name] = _value(kinds[name], value, f"choice {text!r}: {part!r}")
    for name in values:
        if name in train_cli.unheeded(method):
            raise TilthError(
                f"choice {text!r}: {method} heeds no {name}, and the table would say it does; "
                "leave it out"
            )
    return Choice(text.strip(), values)


def _value(kind: str, text: str, where: str) -> Any:
    if kind == "str":
        return text
    if kind == "List[str]":
        return [word for word in text.split("+") if word]
    if kind == "bool":
        if text.lower() in ("yes", "no"):
            return text.lower() == "yes"
        raise TilthError(f"{where}: give yes or no")
    try:
        return int(text) if "int" in kind else float(text)
    except ValueError as error:
        raise TilthError(f"{where}: a number is expected") from error
