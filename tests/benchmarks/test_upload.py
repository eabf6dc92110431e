"""What a stream into a bucket costs: memory that does not grow with it, and little beside obstore's own work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.bucket import KEYS
from tests.fixtures.database import ROOT

MEGABYTES = int(os.environ.get("DBCTL_UPLOAD_MB", "1024"))
# Takes S3's multipart uploads and keeps nothing.
SINK = """
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Sink(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def do_PUT(self):
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, 1 << 20)))
        self.answer(b"")
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = "InitiateMultipartUploadResult" if "uploads" in self.path else "CompleteMultipartUploadResult"
        self.answer(f"<{kind}><UploadId>1</UploadId><ETag>1</ETag></{kind}>".encode())
    def answer(self, body):
        self.send_response(200)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
print(server.server_address[1], flush=True)
server.serve_forever()
"""
WAYS = {
    "bare": """
obstore.put(store._store, "key", (chunk for _ in range(count)), chunk_size=16 << 20, max_concurrency=3)
""",
    "dbctl": """
from dbctl.backup.staging import Copies, Copy, Staged
with Staged("20261122T171500Z-3f9a1c", Copies([Copy(store)])).member("archive.dump") as file:
    for _ in range(count):
        file.write(chunk)
""",
}
RUN = """
import json, os, resource, sys, time
from pathlib import Path
import obstore
from dbctl.backup.targets import open_storage
from dbctl.settings import StorageSettings
settings = StorageSettings(endpoint_url=sys.argv[1], allow_http=True)
store, chunk, count = open_storage("s3://bucket", settings, Path("/")), os.urandom(1 << 20), int(sys.argv[2])
before = time.process_time()
{way}
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({{"seconds": time.process_time() - before, "megabytes": peak}}))
"""


def measured(way: str, url: str, megabytes: int) -> dict[str, float]:
    program = RUN.format(way=WAYS[way])
    environ = {**os.environ, **KEYS, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program, url, str(megabytes)],
        env=environ,
        cwd=Path("/"),
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


@pytest.mark.benchmark
def test_memory_is_flat_and_the_hash_is_most_of_what_is_added() -> None:
    with subprocess.Popen([sys.executable, "-c", SINK], stdout=subprocess.PIPE, text=True) as sink:
        assert sink.stdout
        url = f"http://127.0.0.1:{sink.stdout.readline().strip()}"
        small, large, bare = (
            measured("dbctl", url, MEGABYTES // 4),
            measured("dbctl", url, MEGABYTES),
            measured("bare", url, MEGABYTES),
        )
        sink.kill()
    print(
        f"\n{MEGABYTES} MiB: {large['seconds']:.2f} CPU-s with SHA-256, {bare['seconds']:.2f} bare, "
        f"ratio {large['seconds'] / bare['seconds']:.2f}; peak {large['megabytes']:.0f} MiB "
        f"({small['megabytes']:.0f} for a quarter of it, {bare['megabytes']:.0f} bare)"
    )
    assert large["megabytes"] < 250
    assert large["megabytes"] < small["megabytes"] + 40
