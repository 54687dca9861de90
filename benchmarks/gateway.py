"""The Hub endpoint's figures, in three parts, each some minutes at most.

    python -m benchmarks.gateway download [--mb 1024] [--rounds 3]
    python -m benchmarks.gateway intake   [--mb 1024] [--rounds 3]
    python -m benchmarks.gateway metadata [--revisions 10000] [--rounds 5]

download   a revision by `snapshot_download`, a fresh client process and an empty cache each time: nginx serving the same
           files, the gateway alone, and the gateway behind nginx with the sample configuration (config/nginx). Medians of
           interleaved rounds, ratios to nginx, and the peak memory of the web's processes. Also each server's rate to a client
           that throws the bytes away, because snapshot_download itself is slower than any of the three.
intake     what intake does with bytes (write, sha256, git's id, fsync) against plain `sha256sum` of the same bytes.
metadata   p50 and p95 of what clients ask before they fetch, and the statements sent to the database, with 10 and with 10,000
           approved revisions in the registry.

Each prints one JSON object and, with --save, writes it to docs/benchmarks/gateway-<part>.json. Everything runs on loopback, in
a temporary folder, and is gone afterwards.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from benchmarks import front
from benchmarks.hub_fill import MODEL, SHA
from tests.server.running import free_port

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "benchmarks"
CLIENT = """
import sys, time
from huggingface_hub import snapshot_download
started = time.perf_counter()
snapshot_download(sys.argv[1], revision=sys.argv[2], max_workers=4)
print(time.perf_counter() - started)
"""


# --- processes ---------------------------------------------------------------------------------------------------------


def django_environment(data: Path, **more: str) -> dict[str, str]:
    return {
        **os.environ, "ASSAY_DATA": str(data), "ASSAY_LOG_LEVEL": "WARNING", "DJANGO_SETTINGS_MODULE": "config.settings",
        "NO_PROXY": "127.0.0.1,localhost", **more,
    }  # fmt: skip


def in_django(environment: dict[str, str], call: str) -> str:
    """The last line that `benchmarks.hub_fill.<call>` prints, in a process of its own."""
    code = f"from benchmarks import hub_fill; print(hub_fill.{call})"
    made = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return made.stdout.strip().splitlines()[-1]


def migrate(environment: dict[str, str]) -> None:
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], env=environment, check=True)


@contextmanager
def web(environment: dict[str, str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The web as config/processes.py starts it."""
    granian = str(Path(sys.executable).parent / "granian")
    command = [
        granian, "--interface", "wsgi", "config.wsgi:application", "--host", "127.0.0.1", "--port", str(port),
        "--workers", "2", "--blocking-threads", "4", "--no-access-log", "--log-level", "warning",
    ]  # fmt: skip
    process = subprocess.Popen(command, env=environment)
    try:
        for _ in range(400):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1).read()
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.05)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)


class Peak:
    """The largest resident memory of one process of the web, looked at ten times a second."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        parent = psutil.Process(process.pid)
        self._processes = [parent, *parent.children(recursive=True)]
        self._ended = threading.Event()
        self.before = self.peak = self._now()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _now(self) -> float:
        return max(p.memory_info().rss for p in self._processes) / 1e6

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            self.peak = max(self.peak, self._now())

    def end(self) -> dict[str, float]:
        self._ended.set()
        self._thread.join()
        return {"before": round(self.before, 1), "peak": round(self.peak, 1), "after": round(self._now(), 1)}


# --- download ----------------------------------------------------------------------------------------------------------


def make_files(folder: Path, megabytes: int) -> Path:
    files = folder / "files"
    files.mkdir()
    for number in range(4):
        with (files / f"model-{number + 1:05}-of-00004.safetensors").open("wb") as file:
            for _ in range(megabytes // 4):
                file.write(os.urandom(1 << 20))
    return files


def plain_server(folder: Path, files: Path, port: int) -> str:
    """nginx playing the Hub from a folder: the same files, the same headers that the client needs, nothing checked."""
    tree, etags = [], []
    for path in sorted(files.iterdir()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = path.stat().st_size
        lfs = {"oid": digest, "size": size, "pointerSize": 134}
        tree.append({"type": "file", "path": path.name, "size": size, "oid": "0" * 40, "lfs": lfs})
        etags.append(f"    ~/{path.name}$ '\"{digest}\"';")
    api = folder / "api" / "api" / "models" / MODEL / "tree"
    api.mkdir(parents=True)
    (api / SHA).write_text(json.dumps(tree), encoding="utf-8")
    return "\n".join(
        [
            "  map $uri $known_etag {", *etags, "  }",
            "  server {", f"    listen 127.0.0.1:{port}; sendfile on; tcp_nopush on; etag off;",
            f"    location /api/ {{ root {folder}/api; default_type application/json; }}",
            f"    location /{MODEL}/resolve/{SHA}/ {{",
            f"      alias {files}/; add_header X-Repo-Commit {SHA}; add_header ETag $known_etag;",
            "      default_type application/octet-stream;", "    }", "  }",
        ]
    )  # fmt: skip


def download(endpoint: str, token: str, cache: Path) -> float:
    """Seconds of one `snapshot_download` into an empty cache, in a fresh client process."""
    shutil.rmtree(cache, ignore_errors=True)
    environment = {
        **os.environ, "HF_ENDPOINT": endpoint, "HF_TOKEN": token, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    run = subprocess.run(
        [sys.executable, "-c", CLIENT, MODEL, SHA],
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return float(run.stdout.strip().splitlines()[-1])


def raw(endpoint: str, token: str, files: Path) -> float:
    """Seconds to read the same files over one connection and to throw them away: the server's share without the client's."""
    address = urlsplit(endpoint)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    buffer, begun = memoryview(bytearray(1 << 20)), time.perf_counter()
    for path in sorted(files.iterdir()):
        connection.request(
            "GET",
            f"{address.path}/{MODEL}/resolve/{SHA}/{path.name}",
            headers={"Authorization": f"Bearer {token}"},
        )
        answer, taken = connection.getresponse(), 0
        while size := answer.readinto(buffer):
            taken += size
        if answer.status != 200 or taken != path.stat().st_size:
            raise RuntimeError(f"{address.path}: {answer.status}, {taken} bytes")
    connection.close()
    return time.perf_counter() - begun


def measure_download(folder: Path, megabytes: int, rounds: int) -> dict[str, Any]:
    data, files = folder / "data", make_files(folder, megabytes)
    plain, alone, fronted, behind = (free_port() for _ in range(4))
    environment = django_environment(data)
    migrate(environment)
    token = in_django(environment, f"files_of({str(files)!r})")
    servers = plain_server(folder, files, plain) + front.sample(
        port=fronted, web=f"127.0.0.1:{behind}", store=data / "store"
    )
    ways = {
        "nginx": f"http://127.0.0.1:{plain}",
        "gateway": f"http://127.0.0.1:{alone}/hub",
        "gateway behind nginx": f"http://localhost:{fronted}/hub",
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    read: dict[str, list[float]] = {way: [] for way in ways}
    with ExitStack() as stack:
        process = stack.enter_context(web(environment, alone))
        stack.enter_context(web(django_environment(data, ASSAY_ACCEL="/assay-store/"), behind))
        stack.enter_context(front.nginx(folder / "nginx", servers, plain))
        peak = Peak(process)
        # The first round does not count: each web process re-hashes what it opens for the first time.
        for _ in range(rounds + 1):
            for way, endpoint in ways.items():
                seconds[way].append(download(endpoint, token, folder / "cache"))
                read[way].append(raw(endpoint, token, files))
        memory = peak.end()
    rate = {
        way: round(megabytes * 1.048576 / statistics.median(times[1:]), 1) for way, times in seconds.items()
    }
    alone_rate = {
        way: round(megabytes * 1.048576 / statistics.median(times[1:])) for way, times in read.items()
    }
    return {
        "mb": megabytes, "mb_s": rate, "mb_s_thrown_away": alone_rate,
        "gateway_to_nginx": round(rate["gateway"] / rate["nginx"], 3),
        "behind_nginx_to_nginx": round(rate["gateway behind nginx"] / rate["nginx"], 3),
        "seconds": {way: [round(s, 2) for s in times] for way, times in seconds.items()},
        "web_memory_mb": memory,
    }  # fmt: skip


# --- intake ------------------------------------------------------------------------------------------------------------

PUT = """
import django, os, sys, time; django.setup()
from pathlib import Path
from registry import store
started = time.perf_counter()
for path in sorted(Path(sys.argv[1]).iterdir()):
    with path.open('rb') as f: store.put(iter(lambda: f.read(1 << 20), b''), size=path.stat().st_size)
print(time.perf_counter() - started)
"""


def measure_intake(folder: Path, megabytes: int, rounds: int) -> dict[str, Any]:
    files = make_files(folder, megabytes)
    seconds: dict[str, list[float]] = {"store": [], "sha256sum": []}
    for number in range(rounds + 1):
        data = folder / f"data-{number}"
        put = subprocess.run(
            [sys.executable, "-c", PUT, str(files)],
            env=django_environment(data), check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        seconds["store"].append(float(put.stdout))
        shutil.rmtree(data)
        begun = time.perf_counter()
        subprocess.run(["sha256sum", *map(str, files.iterdir())], check=True, stdout=subprocess.DEVNULL)
        seconds["sha256sum"].append(time.perf_counter() - begun)
    rate = {
        way: round(megabytes * 1.048576 / statistics.median(times[1:]), 1) for way, times in seconds.items()
    }
    return {
        "mb": megabytes, "mb_s": rate, "store_to_sha256sum": round(rate["store"] / rate["sha256sum"], 3),
        "seconds": {way: [round(s, 2) for s in times] for way, times in seconds.items()},
    }  # fmt: skip


# --- metadata ----------------------------------------------------------------------------------------------------------


def addresses(revisions: int) -> dict[str, tuple[str, str]]:
    """What clients ask, by name: (verb, address). The commit is the newest, and one from the middle of the history."""
    newest, middle = f"{revisions:040x}", f"{max(1, revisions // 2):040x}"
    model = f"/hub/api/models/{MODEL}"
    return {
        "model_info": ("GET", model),
        "model_info of a commit": ("GET", f"{model}/revision/{middle}"),
        "tree": ("GET", f"{model}/tree/{newest}?recursive=true"),
        "refs": ("GET", f"{model}/refs"),
        "commits": ("GET", f"{model}/commits/main"),
        "list_models": ("GET", "/hub/api/models?limit=10"),
        "HEAD of a file": ("HEAD", f"/hub/{MODEL}/resolve/main/config.json"),
        "HEAD of a file of a commit": ("HEAD", f"/hub/{MODEL}/resolve/{middle}/config.json"),
    }


def timed(port: int, token: str, verb: str, address: str, times: int) -> list[float]:
    """Milliseconds of each of `times` requests over one connection."""
    found, connection = [], http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for _ in range(times):
        begun = time.perf_counter()
        connection.request(verb, address, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        answer.read()
        found.append((time.perf_counter() - begun) * 1000)
        if answer.status != 200:
            raise RuntimeError(f"{verb} {address}: {answer.status}")
    connection.close()
    return found


def measure_metadata(folder: Path, revisions: int, rounds: int, times: int = 100) -> dict[str, Any]:
    sizes = (10, revisions)
    found: dict[str, dict[int, list[float]]] = {name: {size: [] for size in sizes} for name in addresses(10)}
    counted: dict[str, dict[int, int]] = {name: {} for name in found}
    with ExitStack() as stack:
        running = {}
        for size in sizes:
            environment = django_environment(folder / str(size))
            migrate(environment)
            token = in_django(environment, f"many({size})")
            asked = addresses(size)
            said = json.loads(
                in_django(environment, f"queries({token!r}, {list(asked.values())!r})").replace("'", '"')
            )
            for name, (verb, address) in asked.items():
                counted[name][size] = said[f"{verb} {address}"]
            port = free_port()
            stack.enter_context(web(environment, port))
            running[size] = (port, token)
        for round_ in range(rounds + 1):
            for size, (port, token) in running.items():
                for name, (verb, address) in addresses(size).items():
                    taken = timed(port, token, verb, address, times)
                    if round_:  # the first warms
                        found[name][size] += taken
    rows = {}
    for name, by_size in found.items():
        p50 = {size: statistics.median(taken) for size, taken in by_size.items()}
        p95 = {size: statistics.quantiles(taken, n=20)[-1] for size, taken in by_size.items()}
        rows[name] = {
            "queries": counted[name], "p50_ms": {size: round(v, 2) for size, v in p50.items()},
            "p95_ms": {size: round(v, 2) for size, v in p95.items()}, "p95_ratio": round(p95[sizes[1]] / p95[sizes[0]], 2),
        }  # fmt: skip
    return {"revisions": sizes, "requests_each": rounds * times, "asked": rows}


# --- the command -------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=["download", "intake", "metadata"])
    parser.add_argument("--mb", type=int, default=1024, help="size of the revision in MiB")
    parser.add_argument("--revisions", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", action="store_true", help="write docs/benchmarks/gateway-<part>.json")
    options = parser.parse_args()
    if options.part == "download" and not front.NGINX:
        sys.exit("nginx is missing: apt-get install nginx-light")
    with tempfile.TemporaryDirectory() as name:
        if options.part == "download":
            found = measure_download(Path(name), options.mb, options.rounds)
        elif options.part == "intake":
            found = measure_intake(Path(name), options.mb, options.rounds)
        else:
            found = measure_metadata(Path(name), options.revisions, options.rounds)
    head = {
        "benchmark": f"gateway {options.part}", "rounds": options.rounds, "measured": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{os.cpu_count()} CPUs, {platform.machine()}, Python {platform.python_version()}",
    }  # fmt: skip
    text = json.dumps({**head, **found}, indent=1)
    print(text)
    if options.save:
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / f"gateway-{options.part}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
