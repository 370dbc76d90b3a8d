"""The command ``tilth backbones``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from . import jobs
from .errors import TilthError

ACTIONS = ("list", "show", "fetch", "add", "remove")


def add_parser(verbs: Any, common: Callable[[argparse.ArgumentParser], None]) -> None:
    """Add the command to the others; `common` adds the options that all have."""
    parser = verbs.add_parser(
        "backbones", help="the backbones that Tilth knows; fetch, add or remove their weights"
    )
    parser.add_argument("action", nargs="?", default="list", choices=ACTIONS)
    parser.add_argument("id", nargs="?", default="", metavar="ID")
    parser.add_argument("path", nargs="?", default="", metavar="FILE", help="of weights to add")
    parser.add_argument("--file", default="", help="the same as FILE")
    parser.add_argument(
        "--accept-licence", action="store_true", help="accept a licence that binds, to fetch"
    )
    common(parser)
    parser.set_defaults(make=_job)


def _job(options: argparse.Namespace) -> Any:
    action, backbone = options.action, options.id
    options.file = options.file or options.path
    if action == "list":
        return jobs.DescribeJob()
    if not backbone:
        raise TilthError(f"backbones {action}: name a backbone; tilth backbones lists them")
    if options.file and action != "add":
        raise TilthError("file: only `tilth backbones add` takes a file")
    if action == "fetch":
        return jobs.FetchJob(backbone, options.accept_licence)
    if action == "add":
        return jobs.AddJob(backbone, options.file)
    if action == "remove":
        return jobs.RemoveJob(backbone)
    from . import weights

    options.run = lambda job, reporter: weights.show(backbone)
    return jobs.DescribeJob()
