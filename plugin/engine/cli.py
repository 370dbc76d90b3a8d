"""The command ``tilth``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from . import backbones_cli, compare_cli, jobs, train_cli
from .events import Reporter
from .run import Runner, failure
from .version import VERSION

# How the command line calls a job's entries, where that differs; messages begin with the entry.
OPTIONS = {
    "checkpointing": "--checkpointing",
    "choices": "--choice",
    "class_field": "--class-field",
    "continue_from": "--continue-from",
    "dates": "--date",
    "decoder_channels": "--decoder-channels",
    "extent": "--extent",
    "image_branch": "--no-image-branch",
    "images": "--image",
    "label_raster": "--label-raster",
    "labelled_area": "--labelled-area",
    "matching": "--match",
    "time_location": "--time-location",
}
EXIT = {"input": 2, "memory": 2, "cancelled": 130, "internal": 1}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status (0, 2 bad input, 130 cancelled, 1 our fault)."""
    # OpenMP's threads would spin while they wait, and on a busy desktop that costs tenfold.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Else GDAL keeps a twentieth of the memory full of blocks (in megabytes).
    os.environ.setdefault("GDAL_CACHEMAX", "256")
    # What is fetched from the hub is fetched without an account of this machine's software.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    options = _parser().parse_args(arguments)
    if options.verb == "worker":
        from .worker import main as worker

        worker()
    stopped: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: _interrupt(stopped))
    signal.signal(signal.SIGTERM, lambda number, frame: _interrupt(stopped))
    show = _Json() if options.json else _Text()
    reporter = Reporter(show.event, lambda: bool(stopped))
    try:
        job = options.make(options)
        job.check()
        result = (
            options.run(job, reporter) if hasattr(options, "run") else Runner().run(job, reporter)
        )
    except (Exception, KeyboardInterrupt) as error:
        event = failure(error)
        show.event(event)
        return EXIT[event["kind"]]
    show.result(options.verb, result)
    return 0


def _interrupt(stopped: list[int]) -> None:
    """The first signal asks the job to stop; a second one stops it where it is."""
    stopped.append(1)
    if len(stopped) > 1:
        raise KeyboardInterrupt


class _Json:
    """Events as JSON lines on standard output."""

    def event(self, event: dict[str, Any]) -> None:
        from .protocol import encode

        # As bytes, since a console's own encoding need not be UTF-8.
        sys.stdout.buffer.write(encode(event))
        sys.stdout.buffer.flush()

    def result(self, verb: str, result: dict[str, Any]) -> None:
        self.event({"event": "result", "result": result})


class _Text:
    """Events for people: progress on standard error, the result on standard output."""

    def event(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "progress":
            self._progress(event)
            return
        self._clear()
        if kind == "metrics":
            self._metrics(event)
        elif kind == "row":
            self._row(event["row"])
        elif kind == "notice":
            mark = "warning: " if event["level"] == "warning" else ""
            print(_plain(f"{mark}{event['message']}"), file=sys.stderr)
        elif kind == "error":
            print(_plain(f"tilth: {_with_option(event['message'])}"), file=sys.stderr)
            if event["log"]:
                print(f"tilth: the details are in {event['log']}", file=sys.stderr)

    def result(self, verb: str, result: dict[str, Any]) -> None:
        from .wording import result_text

        self._clear()
        encoding = sys.stdout.encoding or "utf-8"
        print(_plain(result_text(verb, result)).encode(encoding, "replace").decode(encoding))

    def _progress(self, event: dict[str, Any]) -> None:
        if sys.stderr.isatty():
            left = event["seconds_left"]
            rest = f", {left:.0f} s left" if left is not None else ""
            line = f"{event['fraction']:4.0%} {event['message']}{rest}"
            sys.stderr.write(f"\r\033[K{line[:100]}")
            sys.stderr.flush()

    def _metrics(self, event: dict[str, Any]) -> None:
        values = event["values"]
        parts = [f"epoch {event['epoch']}"]
        if values.get("train_loss") is not None:  # a forest has none
            parts.append(f"loss {values['train_loss']:.3f}")
        if values.get("validation_score") is not None:
            parts.append(f"held-out loss {values['validation_loss']:.3f}")
            parts.append(f"macro-F1 {values['validation_score']:.3f}")
        print("  ".join(parts), file=sys.stderr)

    def _row(self, row: dict[str, Any]) -> None:
        score = row["score"]
        came = row["error"] or (f"macro-F1 {score:.3f}" if score is not None else "no score")
        print(_plain(f"{row['choice']}  seed {row['seed']}  {came}"), file=sys.stderr)

    def _clear(self) -> None:
        if sys.stderr.isatty():
            sys.stderr.write("\r\033[K")


def _with_option(message: str) -> str:
    """The message with the option that it is about, as it is written on the command line."""
    entry, colon, rest = message.partition(": ")
    return f"{OPTIONS[entry]}: {rest}" if colon and entry in OPTIONS else message


def _plain(text: str) -> str:
    """The text without control characters: names in adapters and files are a stranger's."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)


class _Parser(argparse.ArgumentParser):
    """Tells what is wrong with the arguments in one line."""

    def error(self, message: str) -> NoReturn:
        """Leave with status 2."""
        self.exit(2, f"{self.prog}: {' '.join(message.split())}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="tilth", description="Fine-tune a geospatial foundation model on drawn polygons."
    )
    parser.add_argument("--version", action="version", version=f"tilth {VERSION}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    train_cli.add_parser(verbs, _common)
    compare_cli.add_parser(verbs, _common)
    for add in (_predict, _evaluate, _inspect):
        add(verbs)
    backbones_cli.add_parser(verbs, _common)
    verbs.add_parser("worker", help="the JSON-lines worker that the plugin starts")
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="events as JSON lines on stdout")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (0: all)")
    parser.add_argument("--seed", type=int, default=0)


def _predict(verbs: Any) -> None:
    parser = verbs.add_parser("predict", help="map an image with an adapter")
    train_cli.add_images(parser)
    parser.add_argument("--adapter", required=True, metavar="A.tilth")
    parser.add_argument(
        "--extent", type=float, nargs=4, metavar=("XMIN", "YMIN", "XMAX", "YMAX"), default=None
    )
    parser.add_argument("--extent-crs", default="", help="default: the image's")
    parser.add_argument("--mask", default="", metavar="VECTOR")
    parser.add_argument("--out", required=True, metavar="MAP.tif")
    parser.add_argument("--confidence", default="", metavar="C.tif")
    parser.add_argument("--probabilities", default="", metavar="P.tif")
    _common(parser)
    parser.set_defaults(make=_predict_job)


def _predict_job(options: argparse.Namespace) -> jobs.PredictJob:
    extent = None
    if options.extent is not None:
        xmin, ymin, xmax, ymax = options.extent
        extent = jobs.Extent(xmin, ymin, xmax, ymax, options.extent_crs)
    return jobs.PredictJob(
        adapter=options.adapter,
        images=options.images,
        stack=options.stack,
        bands=options.bands,
        dates=options.dates,
        extent=extent,
        mask=options.mask,
        out=options.out,
        confidence=options.confidence,
        probabilities=options.probabilities,
        device=options.device,
        threads=options.threads,
        seed=options.seed,
    )


def _evaluate(verbs: Any) -> None:
    parser = verbs.add_parser("evaluate", help="score a map against a reference")
    parser.add_argument("--map", required=True, metavar="MAP.tif")
    parser.add_argument("--reference", required=True, metavar="VECTOR|RASTER")
    parser.add_argument("--class-field", default="")
    parser.add_argument("--out", default="", metavar="REPORT.html|.json")
    _common(parser)
    parser.set_defaults(make=lambda o: jobs.EvaluateJob(o.map, o.reference, o.class_field, o.out))


def _inspect(verbs: Any) -> None:
    parser = verbs.add_parser("inspect", help="an adapter's card, and whether it verifies")
    parser.add_argument("adapter", metavar="ADAPTER.tilth")
    _common(parser)
    parser.set_defaults(make=lambda o: jobs.InspectJob(o.adapter))
