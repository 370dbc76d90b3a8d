"""Getting a published file from the hub: https://huggingface.co/docs/hub, over plain HTTPS.

The library `huggingface_hub` knows the addresses, the account and the faults. Its own download
throws a part away when it ends early, which for gigabytes on a slow line would be no download at
all; so the bytes are taken here.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..data.files import file_faults
from ..errors import TilthError
from ..events import Reporter
from ..version import VERSION
from . import store
from .card import Card

TIMEOUT = 20.0
TRIES = 5
RETRY_SECONDS = 1.0
MEGABYTE = 1_000_000
# After a wish to stop, so long for the line to fall silent; then it is left to itself.
PATIENCE = 1.0
_YES = ("1", "ON", "YES", "TRUE")
_Found = TypeVar("_Found")


@dataclass(frozen=True)
class Remote:
    """A file on the hub, pinned to a commit; `sha256` is empty where the hub doesn't know it."""

    url: str
    commit: str
    etag: str
    size: int
    sha256: str


class _Stopped(Exception):  # noqa: N818  it is no error
    """The download was asked to stop."""


def download(card: Card, reporter: Reporter, proxy: str = "") -> tuple[Path, dict[str, Any]]:
    """Fetch a backbone's published file; the file, and what its record says of the source.

    A part that an earlier download left is gone on from. `proxy` is an address such as
    http://host:8080 to use instead of the environment's. Progress runs from 0 to 0.9.

    Raises TilthError where it can't be had, isn't what was expected, or the disk is too full; and
    Cancelled, which leaves the part.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in _YES:
        raise TilthError(
            f"backbone {card.id!r}: the hub can't be asked, since HF_HUB_OFFLINE is set; unset it, "
            f"or {_by_hand(card)}"
        )
    with _through(proxy):
        reporter.progress(0.0, f"Asking for {card.repository}")
        remote = _patiently(lambda stop: _resolve(card), reporter)
        _check_promise(card, remote)
        part = _part(card, remote)
        have = part.stat().st_size if part.exists() else 0
        _check_room(card, remote.size, have)
        transfer = _Transfer(card, remote, part)
        _patiently(transfer.run, reporter, transfer.show)
    verified = _verify(card, remote, part, reporter)
    source = {
        "kind": "hub",
        "repository": card.repository,
        "revision": remote.commit,
        "file": card.file,
        "size": part.stat().st_size,
        "sha256": store.sha256_of(part),
        "verified": verified,
    }
    return part, source


def forget(card: Card) -> None:
    """Remove what a download of this backbone has left."""
    shutil.rmtree(_downloads(card), ignore_errors=True)


def _resolve(card: Card) -> Remote:
    """Pin the card's file to a commit, and ask what it is."""
    from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url

    endpoint = os.environ.get("HF_ENDPOINT") or None
    who: dict[str, Any] = {"library_name": "tilth", "library_version": VERSION}
    with _explained(card):
        commit = card.revision
        if not re.fullmatch(r"[0-9a-f]{40}", commit):
            api = HfApi(endpoint=endpoint, **who)
            info = api.model_info(card.repository, revision=commit or "main", timeout=TIMEOUT)
            commit = str(info.sha)
        url = hf_hub_url(card.repository, card.file, revision=commit, endpoint=endpoint)
        found = get_hf_file_metadata(url, timeout=TIMEOUT, endpoint=endpoint, **who)
    etag = found.etag or ""
    known = etag if re.fullmatch(r"[0-9a-f]{64}", etag) else ""
    return Remote(url, commit, etag, found.size or 0, known)


def _check_promise(card: Card, remote: Remote) -> None:
    """Before anything is downloaded: is it the file that the card names?"""
    if card.sha256 and remote.sha256 and card.sha256 != remote.sha256:
        raise TilthError(
            f"backbone {card.id!r}: {card.repository} has another {card.file} now (sha256 "
            f"{remote.sha256[:12]}…, expected {card.sha256[:12]}…); update Tilth, or "
            f"{_by_hand(card)}"
        )


def _check_room(card: Card, size: int, have: int) -> None:
    """The file, and then the weights made of it, must find room."""
    # The network alone is stored, in float32 at most; the file may have an optimiser's state too.
    wanted = (size or card.size_bytes) - have + 4.4 * card.parameters
    folder = store.folder(card)
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise TilthError(
            f"{folder}: backbone {card.id!r} takes {wanted / MEGABYTE:,.0f} MB of disk while it is "
            f"fetched, and {free / MEGABYTE:,.0f} MB are free; make room, or set TILTH_HOME to "
            "another disk"
        )


def _downloads(card: Card) -> Path:
    return store.folder(card) / "download"


def _part(card: Card, remote: Remote) -> Path:
    """The file that grows; its name says which version it is, and others are of no use now."""
    folder = _downloads(card)
    name = re.sub(r"\W", "", remote.etag or remote.commit)[:40] + ".part"
    with file_faults(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            if old.name != name:
                old.unlink()
    return folder / name


def _verify(card: Card, remote: Remote, part: Path, reporter: Reporter) -> str:
    """Compare the file with what was promised; says by whom ("" where nobody said anything)."""

    def step(share: float) -> None:
        reporter.progress(0.85 + 0.05 * share, "Checking the file")

    wanted = card.sha256 or remote.sha256
    found = store.sha256_of(part, step)
    if wanted and found != wanted:
        part.unlink()
        raise TilthError(
            f"backbone {card.id!r}: the file arrived damaged (sha256 {found[:12]}…, expected "
            f"{wanted[:12]}…); fetch it again"
        )
    return "card" if card.sha256 else "hub" if remote.sha256 else ""


class _Transfer:
    """Takes a file's bytes, in a thread; `show` tells how far it is, from another."""

    def __init__(self, card: Card, remote: Remote, part: Path) -> None:
        self._card, self._remote, self._part = card, remote, part
        self._done = self._first = part.stat().st_size if part.exists() else 0
        self._began = time.monotonic()

    def show(self, reporter: Reporter) -> None:
        """Tell the progress. Raises Cancelled."""
        size, done = self._remote.size, self._done
        passed, got = time.monotonic() - self._began, done - self._first
        left = (size - done) * passed / got if size and got > 0 and passed > 1 else None
        of = f" of {size / MEGABYTE:,.1f}" if size else ""
        message = f"Downloading: {done / MEGABYTE:,.1f}{of} MB"
        reporter.progress(0.85 * done / size if size else 0.0, message, left)

    def run(self, stop: threading.Event) -> None:
        """Go on until all is here. Raises TilthError, or _Stopped once `stop` is set."""
        from huggingface_hub.errors import HfHubHTTPError

        failures = 0
        while not self._remote.size or self._done < self._remote.size:
            before = self._done
            try:
                self._take(stop)
                break
            except (TilthError, _Stopped):
                raise
            except Exception as error:  # what breaks on a line depends on the library beneath
                status = error.response.status_code if isinstance(error, HfHubHTTPError) else 0
                failures = 1 if self._done > before else failures + 1
                if (400 <= status < 500 and status not in (408, 416, 429)) or failures >= TRIES:
                    with _explained(self._card):
                        raise
            if stop.wait(RETRY_SECONDS * failures):
                raise _Stopped
        if self._remote.size and self._done > self._remote.size:
            self._part.unlink()
            raise TilthError(
                f"backbone {self._card.id!r}: more arrived than the file has; fetch it again"
            )

    def _take(self, stop: threading.Event) -> None:
        """One request, from where the part ends."""
        from huggingface_hub import get_session
        from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

        headers = build_hf_headers(library_name="tilth", library_version=VERSION)
        headers["Accept-Encoding"] = "identity"
        if self._done:
            headers["Range"] = f"bytes={self._done}-"
        request = get_session().stream("GET", self._remote.url, headers=headers, timeout=TIMEOUT)
        with request as response, file_faults(self._part), self._part.open("ab") as file:
            if self._done and response.status_code in (200, 416):
                # It gives all or nothing: begin anew.
                file.truncate(0)
                self._done = self._first = 0
            hf_raise_for_status(response)
            for block in response.iter_bytes():
                if stop.is_set():
                    raise _Stopped
                file.write(block)
                self._done += len(block)
        if self._done < self._remote.size:
            raise ConnectionError("the line was cut")


def _patiently(
    work: Callable[[threading.Event], _Found],
    reporter: Reporter,
    show: Callable[[Reporter], None] = Reporter.check,
) -> _Found:
    """Do work that waits for the network in a thread, so that stopping never waits for it.

    `show` is called ten times a second, and may raise. The work should heed its event.
    """
    stop, results, errors = threading.Event(), [], []

    def run() -> None:
        try:
            results.append(work(stop))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="tilth-fetch", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            show(reporter)
            thread.join(0.1)
    except BaseException:
        stop.set()
        thread.join(PATIENCE)
        raise
    if errors:
        raise errors[0]
    return results[0]


@contextlib.contextmanager
def _explained(card: Card) -> Iterator[None]:
    """Turn the faults of the hub and of the line into one clear line each."""
    from huggingface_hub import errors

    who = f"backbone {card.id!r}"
    try:
        yield
    except TilthError:
        raise
    except Exception as error:  # any library may be beneath the hub's
        status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else 0
        missing = (errors.RevisionNotFoundError, errors.EntryNotFoundError)
        if isinstance(error, errors.GatedRepoError) or status == 403:
            text = (
                f"{who}: {card.repository} wants an account that has accepted its terms; accept "
                f"them at https://huggingface.co/{card.repository}, set HF_TOKEN to the account's "
                f"token and fetch again, or {_by_hand(card)}"
            )
        elif isinstance(error, (*missing, errors.RepositoryNotFoundError)) or status == 404:
            text = (
                f"{who}: the hub has no {card.file} in {card.repository} that is open to all (it "
                f"may have moved); update Tilth, or {_by_hand(card)}"
            )
        elif status:
            text = f"{who}: the hub answered with status {status}; try later, or {_by_hand(card)}"
        else:
            reason = " ".join(str(error).split())[:160] or type(error).__name__
            text = (
                f"{who}: the hub can't be reached ({reason}); check the network and its proxy and "
                f"fetch again, or {_by_hand(card)}"
            )
        raise TilthError(text) from error


def _by_hand(card: Card) -> str:
    return (
        f"get {card.file} elsewhere and add it: tilth backbones add {card.id} --file FILE "
        "(in QGIS: Use a file)"
    )


@contextlib.contextmanager
def _through(proxy: str) -> Iterator[None]:
    """Go through a proxy meanwhile; without one, the environment's serve as ever."""
    if not proxy:
        yield
        return
    from huggingface_hub import close_session

    names = ("http_proxy", "https_proxy")
    before = {name: os.environ.get(name) for name in names}
    close_session()
    os.environ.update(dict.fromkeys(names, proxy))
    try:
        yield
    finally:
        close_session()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
