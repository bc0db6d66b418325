"""A Hugging Face of one's own, with the few answers that fetching a file needs, and a computer that asks it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """``files`` maps (repository, revision, file) to content; the rest is what can go wrong."""

    files: dict[tuple[str, str, str], bytes] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    token: str = "hf_letmein"
    break_after: int | None = None  # bytes of a file, after which the connection ends
    breaks: int = 1_000  # how often it does
    starts: list[int] = field(default_factory=list)  # the byte at which each download began
    claimed_size: int | None = None
    status: int | None = None
    seconds: float = 0.0  # that a download takes
    requests: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""

    @property
    def downloads(self) -> int:
        """Files handed out, whole or broken off."""
        return sum(method == "GET" for method, _ in self.requests)


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """Serve until the block ends."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            parts = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
            if parts is None:  # what huggingface_hub asks on its own account
                self._refuse(404, "")
                return
            hub.requests.append((self.command, self.path))
            repository, revision, file = parts.groups()
            known = {key[0] for key in hub.files} | hub.gated
            allowed = self.headers.get("Authorization") == f"Bearer {hub.token}"
            if hub.status is not None:
                self._refuse(hub.status, "")
            elif repository in hub.gated and not allowed:
                self._refuse(403 if "Authorization" in self.headers else 401, "GatedRepo")
            elif repository not in known:
                self._refuse(401, "RepoNotFound")
            elif not any(key[:2] == (repository, revision) for key in hub.files):
                self._refuse(404, "RevisionNotFound")
            elif (repository, revision, file) not in hub.files:
                self._refuse(404, "EntryNotFound")
            else:
                self._give(hub.files[repository, revision, file], with_body)

        def _refuse(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _give(self, content: bytes, with_body: bool) -> None:
            start = 0
            if wanted := re.match(r"bytes=(\d+)-", self.headers.get("Range", "")):
                start = int(wanted[1])
            self.send_response(206 if start else 200)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{abs(hash(content)):x}"')
            if start:
                self.send_header(
                    "Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}"
                )
            if hub.claimed_size is not None:
                self.send_header("X-Linked-Size", str(hub.claimed_size))
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            if not with_body:
                return
            hub.starts.append(start)
            time.sleep(hub.seconds)
            broken = hub.break_after is not None and len(hub.starts) <= hub.breaks
            self.wfile.write(content[start : hub.break_after if broken else None])
            self.close_connection = broken

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


LOCATE = """
import json, sys, time
patience = time.sleep
time.sleep = lambda seconds: patience(min(seconds, 0.01))  # between huggingface_hub's attempts
from octcube_core.checkpoints.hub import locate
from octcube_core.errors import OCTCubeError, AnalysisCancelled
stages = []
def on_progress(stage, fraction):
    stages.append([stage, fraction])
    if "--cancel" in sys.argv and fraction > 0:
        raise AnalysisCancelled("The analysis was cancelled.")
try:
    found = {"path": str(locate(sys.argv[1], on_progress))}
except OCTCubeError as error:
    found = {"error": str(error), "type": type(error).__name__}
print(json.dumps(found | {"stages": stages}))
"""


@dataclass
class Found:
    path: Path | None
    error: str
    type: str
    stages: list[tuple[str, float]]
    stderr: str


class Computer:
    """A user's computer with an empty home folder, and this fake hub as the internet."""

    def __init__(self, home: Path, url: str) -> None:
        self.home, self.cache = home, home / "hf" / "hub"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        kept.pop("OCTCUBE_MODELS", None)
        self.environment = kept | {
            "HOME": str(home),
            "USERPROFILE": str(home),
            "HF_HOME": str(home / "hf"),
            "HF_ENDPOINT": url,
            "NO_PROXY": "127.0.0.1",
        }

    def start(
        self, name: str, *options: str, code: str = LOCATE, **settings: str
    ) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, name, *options]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, env=self.environment | settings, text=True, **pipes)

    def locate(self, name: str, *options: str, **settings: str) -> Found:
        return self.result(self.start(name, *options, **settings))

    @staticmethod
    def result(process: subprocess.Popen[str]) -> Found:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        found = json.loads(out)
        path = Path(found["path"]) if "path" in found else None
        return Found(path, found.get("error", ""), found.get("type", ""), found["stages"], err)

    def unfinished(self) -> list[Path]:
        return list(self.cache.rglob("*.incomplete"))

    def snapshots(self) -> list[Path]:
        return [path for path in self.cache.glob("*/snapshots/**/*") if path.is_file()]
