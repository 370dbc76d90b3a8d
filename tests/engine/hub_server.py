"""A hub of models on this machine: as much of the hub's protocol as a download needs.

https://huggingface.co/docs/hub: a repository's revision is asked from /api/models, a file from
/REPOSITORY/resolve/REVISION/FILE, which answers with the file's facts and sends on to where the
bytes are. Standard library only, so that QGIS's tests can use it too.
"""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Dict, List, Optional, Set, Tuple

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Serves what was published, with the faults that are asked for, in a thread.

    ``cuts`` are numbers of bytes: each answer takes one and breaks off after so many. While
    ``stalled`` is set, answers stop half-way until it is cleared. ``slow`` is seconds a block.
    """

    def __init__(self) -> None:
        self.files: Dict[Tuple[str, str], bytes] = {}
        self.gated: Set[str] = set()
        self.requests: List[Tuple[str, str, str]] = []
        self.cuts: List[int] = []
        self.stalled = threading.Event()
        self.freed = threading.Event()
        self.slow = 0.0
        self.ranges = True
        self.status = 0
        self.sha256: Optional[str] = None
        hub = self

        class Handler(_Handler):
            """Knows its hub."""

            served = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.bytes_url = f"http://localhost:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def publish(self, repository: str, file: str, data: bytes) -> None:
        """Put a file into a repository."""
        self.files[repository, file] = data

    def gets(self) -> List[str]:
        """The ranges of the requests for bytes, in their order."""
        return [span for verb, path, span in self.requests if verb == "GET" and "/bytes/" in path]

    def close(self) -> None:
        """Stop serving."""
        self.freed.set()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    served: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *values: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_GET(self) -> None:
        self._answer("GET")

    def _answer(self, verb: str) -> None:
        hub, path = self.served, self.path.split("?")[0].strip("/")
        hub.requests.append((verb, self.path, self.headers.get("Range", "")))
        parts = path.split("/")
        if hub.status:
            self._say(hub.status, {})
        elif path.startswith("bytes/"):
            self._bytes(verb, "/".join(parts[1:3]), "/".join(parts[3:]))
        elif path.startswith("api/models/"):
            self._revision("/".join(parts[2:4]), parts[-1])
        elif len(parts) > 4 and parts[2] == "resolve":
            self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self._say(404, {})

    def _revision(self, repository: str, revision: str) -> None:
        if self._known(repository):
            body = {"id": repository, "modelId": repository, "sha": COMMIT, "siblings": []}
            self._say(200, {"Content-Type": "application/json"}, json.dumps(body).encode())

    def _resolve(self, repository: str, revision: str, file: str) -> None:
        if not self._known(repository):
            return
        data = self.served.files.get((repository, file))
        if revision not in ("main", COMMIT):
            self._say(404, {"X-Error-Code": "RevisionNotFound"})
        elif repository in self.served.gated:
            self._say(401, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
        elif data is None:
            self._say(404, {"X-Error-Code": "EntryNotFound"})
        else:
            digest = self.served.sha256 or hashlib.sha256(data).hexdigest()
            self._say(
                302,
                {
                    # Another name for the same machine: the bytes lie elsewhere, as at the hub.
                    "Location": f"{self.served.bytes_url}/bytes/{repository}/{file}",
                    "X-Repo-Commit": COMMIT,
                    "X-Linked-Etag": f'"{digest}"',
                    "X-Linked-Size": str(len(data)),
                    "ETag": f'"{digest[:32]}"',
                },
            )

    def _known(self, repository: str) -> bool:
        if any(name == repository for name, _ in self.served.files):
            return True
        self._say(404, {"X-Error-Code": "RepoNotFound"})
        return False

    def _bytes(self, verb: str, repository: str, file: str) -> None:
        hub, data, status, head = self.served, self.served.files[repository, file], 200, {}
        span = self.headers.get("Range", "")
        if span and hub.ranges:
            start = int(span[len("bytes=") :].split("-")[0])
            if start >= len(data):
                self._say(416, {"Content-Range": f"bytes */{len(data)}"})
                return
            status = 206
            head["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            data = data[start:]
        self.send_response(status)
        for name, value in {**head, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if verb == "GET":
            self._send(data)

    def _send(self, data: bytes) -> None:
        hub = self.served
        end = hub.cuts.pop(0) if hub.cuts else len(data)
        step = max(len(data) // 16, 1)
        for start in range(0, min(end, len(data)), step):
            if hub.stalled.is_set() and start >= len(data) // 2:
                hub.freed.wait(30)
            if hub.slow:
                hub.freed.wait(hub.slow)
            try:
                self.wfile.write(data[start : min(start + step, end)])
                self.wfile.flush()
            except OSError:
                return
        if end < len(data):
            self.close_connection = True

    def _say(self, status: int, head: Dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {**head, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
