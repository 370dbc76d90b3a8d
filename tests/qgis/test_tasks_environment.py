"""Making the engine's environment as a task, and downloads through QGIS."""

from __future__ import annotations

import hashlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from qgis.PyQt.QtCore import QCoreApplication
from qgis.PyQt.QtNetwork import QNetworkProxy
from tilth.plugin.engine.errors import TilthError
from tilth.plugin.environment.faults import EnvironmentCancelled, EnvironmentError_
from tilth.plugin.tasks import registry
from tilth.plugin.tasks.download import fetch
from tilth.plugin.tasks.environment import EnvironmentTask, proxy_url

BODY = bytes(range(256)) * 8192


class Files(BaseHTTPRequestHandler):
    """A file, a redirect to it, a file that never comes to its end, and nothing else."""

    def do_GET(self):
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/file")
            self.end_headers()
            return
        if self.path not in ("/file", "/slow"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        if self.path == "/file":
            self.wfile.write(BODY)
            return
        self.wfile.write(BODY[:1000])
        self.wfile.flush()
        self.server.stop.wait(20)

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def server():
    made = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    made.stop = threading.Event()
    made.daemon_threads = True
    thread = threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{made.server_address[1]}"
    made.stop.set()
    made.shutdown()
    made.server_close()
    thread.join()


def in_thread(work):
    """Run it as a task's thread would, while the event loop of the main thread goes on."""
    caught = []

    def run():
        try:
            work()
        except Exception as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    until(lambda: not thread.is_alive())
    if caught:
        raise caught[0]


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        QCoreApplication.processEvents()
        time.sleep(0.005)
    assert condition()


@pytest.mark.parametrize("name", ["file", "moved"])
def test_a_file_arrives_whole(server, tmp_path, name):
    path, seen = tmp_path / "für uv.whl", []
    in_thread(
        lambda: fetch(f"{server}/{name}", path, None, lambda done, of: seen.append((done, of)))
    )
    assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(BODY).digest()
    assert seen[-1] == (len(BODY), len(BODY))


def test_what_is_not_there_is_said_and_leaves_nothing(server, tmp_path):
    with pytest.raises(TilthError, match=r"/none could not be downloaded: .*Check the network"):
        in_thread(lambda: fetch(f"{server}/none", tmp_path / "f"))
    with pytest.raises(TilthError, match="could not be downloaded"):
        in_thread(lambda: fetch("http://127.0.0.1:9/f", tmp_path / "f"))
    assert list(tmp_path.iterdir()) == []


def test_a_download_can_be_cancelled(server, tmp_path):
    start = time.monotonic()
    with pytest.raises(TilthError):
        in_thread(
            lambda: fetch(f"{server}/slow", tmp_path / "f", lambda: time.monotonic() > start + 0.3)
        )
    assert time.monotonic() - start < 20
    assert list(tmp_path.iterdir()) == []


def run_task(task, cancel_after=None):
    said = []
    for name in ("progressed", "succeeded", "failed", "ended"):
        getattr(task, name).connect(lambda *values, name=name: said.append((name, *values)))
    registry.start(task)
    if cancel_after is not None:
        until(lambda: any(kind == cancel_after for kind, *_ in said))
        task.cancel()
    until(lambda: said and said[-1][0] == "ended")
    return said[:-1]


def test_the_environment_is_made_in_the_thread(server, tmp_path):
    threads = []

    def create(target, *, fetch, on_progress, is_cancelled, proxy):
        threads.append(threading.current_thread())
        target.mkdir()
        fetch(f"{server}/file", target / "uv.whl")
        on_progress(0.5, "Installing torch")
        assert not is_cancelled() and proxy == ""

    said = run_task(EnvironmentTask(tmp_path / "environment", create))
    assert ("progressed", 0.5, "Installing torch", None) in said
    assert said[-1] == ("succeeded", tmp_path / "environment")
    assert (tmp_path / "environment" / "uv.whl").read_bytes() == BODY
    assert threads[0] is not threading.main_thread()


def test_its_faults_are_told(server, tmp_path):
    def no_room(target, **_):
        raise EnvironmentError_("The disk is full: 6 GB are needed")

    def no_file(target, *, fetch, **_):
        fetch(f"{server}/none", tmp_path / "uv.whl")

    for create, message in [(no_room, "disk is full"), (no_file, "could not be downloaded")]:
        kind, *values = run_task(EnvironmentTask(tmp_path, create))[-1]
        assert kind == "failed" and values[0] == "environment" and message in values[1]


def test_it_can_be_cancelled(server, tmp_path):
    def stopped(target, *, on_progress, is_cancelled, **_):
        on_progress(0.1, "Installing")
        while not is_cancelled():
            time.sleep(0.01)
        raise EnvironmentCancelled("Stopped.")

    def downloading(target, *, fetch, on_progress, **_):
        on_progress(0.1, "Downloading")
        fetch(f"{server}/slow", tmp_path / "uv.whl")

    for create in (stopped, downloading):
        start = time.monotonic()
        said = run_task(EnvironmentTask(tmp_path, create), cancel_after="progressed")
        assert said[-1][:2] == ("failed", "cancelled")
        assert time.monotonic() - start < 20


def test_the_proxy_of_qgis_as_an_address():
    proxy = QNetworkProxy()
    assert proxy_url(proxy) == "" and proxy_url(None) == ""
    kinds = QNetworkProxy.ProxyType
    assert proxy_url(QNetworkProxy(kinds.HttpProxy, "proxy.org", 8080)) == "http://proxy.org:8080"
    full = QNetworkProxy(kinds.Socks5Proxy, "proxy.org", 1080, "me@home", "p:w/ö")
    assert proxy_url(full) == "socks5://me%40home:p%3Aw%2F%C3%B6@proxy.org:1080"
    assert proxy_url(QNetworkProxy(kinds.NoProxy, "ignored", 1)) == ""
