"""The command ``tilth train``."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import jobs
from .errors import TilthError
from .method_list import Baseline


def add_parser(verbs: Any, common: Callable[[argparse.ArgumentParser], None]) -> None:
    """Add the command to the others; `common` adds the options that all have."""
    parser = verbs.add_parser("train", help="fine-tune on labels; leaves an adapter")
    add_images(parser)
    add_labels(parser)
    _add_model(parser)
    _add_inputs(parser)
    run = parser.add_argument_group("the run")
    run.add_argument("--epochs", type=int, help="at most (default: as many as the minutes allow)")
    run.add_argument(
        "--minutes",
        type=float,
        help="at most (default: 3 on a CPU, 2 on a GPU; with --epochs no limit)",
    )
    add_split(run, tuple(jobs.SPLITS))
    _add_step(run)
    run.add_argument("--continue-from", default="", metavar="ADAPTER")
    run.add_argument("--resume", action="store_true", help="go on with a killed training")
    run.add_argument("--dry-run", action="store_true", help="only say what would run")
    out = parser.add_argument_group("what it leaves")
    out.add_argument("--name", default="", help="the adapter's name (default: the file's)")
    out.add_argument("--out", required=True, metavar="ADAPTER.tilth")
    out.add_argument("--report", default="", metavar="REPORT.html")
    common(parser)
    parser.set_defaults(make=_job)


def add_images(parser: argparse.ArgumentParser) -> None:
    """The options that name images."""
    parser.add_argument(
        "--image", dest="images", action="append", required=True, help="may be repeated"
    )
    parser.add_argument("--stack", action="store_true", help="the files are one scene's bands")
    parser.add_argument("--bands", type=_numbers, default=[], help="for example 1,2,3,7")
    parser.add_argument(
        "--date",
        dest="dates",
        action="append",
        default=[],
        metavar="2024-06-15",
        help="of each --image of a stack in turn, or of all (default: the files')",
    )


def add_split(group: Any, choices: Sequence[str]) -> None:
    """The option that says what is held out."""
    group.add_argument(
        "--split",
        default="polygons",
        choices=choices,
        help="what is held out; regions: also all beyond a line, to see how good the map is there",
    )


def add_labels(parser: argparse.ArgumentParser) -> None:
    """The options that name labels."""
    group = parser.add_argument_group("labels")
    group.add_argument("--labels", default="", metavar="VECTOR[|layername=L]")
    group.add_argument("--class-field", default="")
    group.add_argument("--labelled-area", default="", metavar="VECTOR")
    group.add_argument("--label-raster", default="", metavar="RASTER")


# Options that some methods don't look at have no default: what was asked for is what is there.
def _add_step(group: Any) -> None:
    asked = {"default": argparse.SUPPRESS}
    group.add_argument("--batch", type=int, help="chips in a step (0: Tilth chooses)", **asked)
    group.add_argument("--precision", choices=jobs.PRECISIONS, **asked)
    group.add_argument(
        "--checkpointing",
        action="store_true",
        help="compute features twice, to save memory",
        **asked,
    )


def _add_model(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the model", argument_default=argparse.SUPPRESS)
    group.add_argument(
        "--backbone", help="an id that `tilth backbones` lists, or none (default: embedded)"
    )
    group.add_argument("--random-backbone", action="store_true", help="random weights, to compare")
    group.add_argument(
        "--method",
        choices=(*jobs.METHODS, *jobs.BASELINES),
        help="default: lora; without a backbone frozen",
    )
    group.add_argument("--rank", type=int, help="of LoRA and its kin (default: the method's)")
    group.add_argument("--alpha", type=int, help="of LoRA and its kin (default: the rank)")
    group.add_argument("--dropout", type=float)
    group.add_argument("--targets", type=_words, help="layers to adapt, for example q,v,fc1,fc2")
    group.add_argument("--prompts", type=int, help="of prompt tuning, in each block")
    group.add_argument("--decoder", choices=jobs.DECODERS)
    group.add_argument(
        "--decoder-channels", type=int, help="of fcn, unet, upernet (0: the paper's)"
    )
    group.add_argument(
        "--no-image-branch",
        dest="image_branch",
        action="store_false",
        help="without Tilth's branch at full resolution",
    )


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "the image as the backbone sees it", argument_default=argparse.SUPPRESS
    )
    group.add_argument(
        "--match",
        dest="matching",
        type=_entries,
        metavar="NAME,NAME,…",
        help="the backbone's band that each band of the image is: nothing for one that it does "
        "not see, + for one that it takes in all the same; --dry-run shows what Tilth finds",
    )
    group.add_argument("--normalisation", choices=jobs.NORMALISATIONS)
    group.add_argument(
        "--time-location", action="store_true", help="tell the backbone date and place"
    )
    group.add_argument("--zoom", type=float, help="enlarge the image (0: Tilth chooses)")


def need_class_field(options: argparse.Namespace) -> None:
    """Raise TilthError where polygons are given without the field that has their class."""
    if options.labels and not options.class_field:
        from .data.vectors import fields_of

        fields = ", ".join(fields_of(options.labels)) or "none"
        raise TilthError(
            f"{options.labels}: name the field that has the class (--class-field); its fields are "
            f"{fields}"
        )


def _job(options: argparse.Namespace) -> Any:
    need_class_field(options)
    names = {item.name for item in dataclasses.fields(jobs.TrainJob)}
    values = {name: value for name, value in vars(options).items() if name in names}
    if values.get("backbone") == jobs.NO_BACKBONE:
        values.setdefault("method", "frozen")
    job = jobs.TrainJob(**values)
    _check_heeded(job, values)
    if options.dry_run:
        options.verb = "plan"
        return jobs.PlanJob(job)
    return job


def _check_heeded(job: jobs.TrainJob, asked: Mapping[str, Any]) -> None:
    """Raise TilthError where something is asked for that the method does not look at.

    What it comes to anyway is no contradiction. A job can't tell: the dock's have a backbone
    whatever the method, as nobody asked for it.
    """
    usual = jobs.TrainJob(job.images, job.out, method=job.method).settled()
    names = unheeded(job.method) & asked.keys()
    left = [
        _option(name) for name in asked if name in names and asked[name] != getattr(usual, name)
    ]
    if left:
        it = "it" if len(left) == 1 else "them"
        raise TilthError(
            f"{', '.join(left)}: the method {job.method} does not look at {it}; leave {it} out, or "
            "choose a method that does"
        )


def unheeded(method: str) -> set[str]:
    """The entries of a training that can't have an effect, as the method has none such."""
    if method not in (*jobs.METHODS, *jobs.BASELINES):
        return set()  # told elsewhere
    settings = {name for names in jobs.METHOD_SETTINGS.values() for name in names}
    left = settings - set(jobs.METHOD_SETTINGS.get(method, ()))
    if method in jobs.BASELINES:
        left |= _unheeded_by(jobs.BASELINES[method])
    if method in jobs.BASELINES or method == "full":
        left.add("precision")  # there are no frozen weights
    if method == "probe":
        left |= {"decoder", "decoder_channels", "image_branch"}
    return left


def _unheeded_by(baseline: Baseline) -> set[str]:
    left = {"backbone", "random_backbone", "decoder", "image_branch", "matching"}
    if baseline.backbone == jobs.NO_BACKBONE:
        left |= {"zoom", "time_location", "checkpointing", "decoder_channels"}
    if baseline.decoder in jobs.FORESTS:
        left.add("batch")
    return left


def _option(name: str) -> str:
    """How the command line calls an entry."""
    called = {"image_branch": "--no-image-branch", "matching": "--match"}
    return called.get(name, f"--{name.replace('_', '-')}")


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no list of band numbers such as 1,2,3"
        ) from None


def _words(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _entries(text: str) -> list[str]:
    """Words in their places; some may be empty."""
    return [part.strip() for part in text.split(",")]
