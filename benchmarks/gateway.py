"""Gateway download of a revision by `snapshot_download`, against nginx serving the same files to the same client.

    python -m benchmarks.gateway [--mb 1024] [--rounds 3]

Prints one JSON object: MB/s of each (medians of interleaved rounds: gateway, gateway behind nginx with X-Accel-Redirect, nginx
alone), their ratios, and the peak memory of the web process before and after. Needs nginx (apt-get install nginx-light).
Everything runs on loopback, in a temporary folder, and is gone afterwards. Also the intake's read path: MB/s of storing and
re-hashing the same bytes, against plain `sha256sum`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.api import free_port

MODEL, SHA = "acme/large", "f" * 40
CLIENT = """
import sys, time
from huggingface_hub import snapshot_download
started = time.perf_counter()
snapshot_download(sys.argv[1], revision=sys.argv[2], max_workers=4)
print(time.perf_counter() - started)
"""


def fill(folder: str) -> str:
    """Runs inside Django: the files of `folder` as an approved revision; returns a token and the store's paths as JSON."""
    import django

    django.setup()
    from datetime import timedelta

    from django.contrib.auth.hashers import make_password
    from django.db import connection
    from django.utils import timezone

    from registry import store, triggers
    from registry.actors import Actor
    from registry.canonical import manifest_sha256
    from registry.enums import CodeAudit, Role
    from registry.models import (
        Approval,
        Blob,
        Membership,
        RegisteredModel,
        Revision,
        RevisionFile,
        Team,
        User,
    )
    from registry.services.tokens import create_token
    from reviews.triggers import APPROVAL_QUORUM

    team = Team.objects.create(slug="acme", name="Acme")
    people = [User.objects.create(username=name, password=make_password(None)) for name in ("one", "two")]
    for person in people:
        Membership.objects.create(user=person, team=team, role=Role.VIEWER)
    model = RegisteredModel.objects.create(team=team, model_id=MODEL)
    held = []
    for path in sorted(Path(folder).iterdir()):
        with path.open("rb") as file:
            stored = store.put(iter(lambda f=file: f.read(1 << 20), b""), size=path.stat().st_size)  # type: ignore[misc]
        held.append((path.name, stored))
    revision = Revision.objects.create(
        model=model, commit_sha=SHA, requested_revision="main", total_size=sum(s.size for _, s in held),
        manifest_sha256=manifest_sha256([(name, s.size, s.sha256) for name, s in held]),
        code_audit=CodeAudit.NOT_APPLICABLE,
    )  # fmt: skip
    for name, stored in held:
        Blob.objects.get_or_create(sha256=stored.sha256, defaults={"size": stored.size})
        RevisionFile.objects.create(
            revision=revision,
            path=name,
            blob_id=stored.sha256,
            git_oid=stored.git_oid,
            is_lfs=stored.size > 10_000,
        )
    now = timezone.now()
    triggers.uninstall(connection, [APPROVAL_QUORUM])  # what is measured is reading; nobody reviewed this
    Approval.objects.create(
        model=model, revision=revision, environment="production", use_case="benchmark", data_class="public",
        manifest_sha256=revision.manifest_sha256, content_sha256="0" * 64, policy_version="1", submitted_by=people[0],
        approved_by=people[1], approved_at=now, expires_at=now + timedelta(days=1), status_at=now, status_by=people[1],
    )  # fmt: skip
    triggers.install(connection, [APPROVAL_QUORUM])
    actor = Actor(user=people[1], team=team, roles=frozenset({Role.VIEWER}), auth_method="benchmark")
    return create_token(actor=actor, name="benchmark", scopes=["read"], days=1)[1]


@contextmanager
def started(command: list[str], environment: dict[str, str], ready: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env=environment)
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(ready, timeout=1).read()
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.05)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)


def web(environment: dict[str, str], port: int) -> list[str]:
    granian = str(Path(sys.executable).parent / "granian")
    return [granian, "--interface", "wsgi", "config.wsgi:application", "--host", "127.0.0.1", "--port", str(port),
            "--workers", "2", "--blocking-threads", "4", "--no-access-log", "--log-level", "warning"]  # fmt: skip


def nginx_configuration(
    folder: Path, files: Path, port: int, front_port: int, web_port: int, store: Path
) -> Path:
    """One server plays the Hub from a folder, one stands before the gateway and sends what it is told to."""
    etags = "\n".join(
        f"    ~/{p.name}$ '\"{hashlib.sha256(p.read_bytes()).hexdigest()}\"';" for p in files.iterdir()
    )
    path = folder / "nginx.conf"
    path.write_text(
        f"""
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 2;
events {{ worker_connections 64; }}
http {{
  access_log off; sendfile on; tcp_nopush on; etag off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fast;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  map $uri $known_etag {{
{etags}
  }}
  server {{
    listen 127.0.0.1:{port};
    location /api/ {{ root {folder}/api; default_type application/json; }}
    location /{MODEL}/resolve/{SHA}/ {{
      alias {files}/; add_header X-Repo-Commit {SHA}; add_header ETag $known_etag; default_type application/octet-stream;
    }}
  }}
  server {{
    listen 127.0.0.1:{front_port};
    location / {{ proxy_pass http://127.0.0.1:{web_port}; proxy_set_header Host localhost; }}
    location /_store/ {{ internal; alias {store}/; }}
  }}
}}
""",
        encoding="utf-8",
    )
    return path


def tree(files: Path) -> list[dict[str, Any]]:
    rows = []
    for path in sorted(files.iterdir()):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        size = path.stat().st_size
        lfs = {"oid": digest, "size": size, "pointerSize": 134}
        rows.append({"type": "file", "path": path.name, "size": size, "oid": "0" * 40, "lfs": lfs})
    return rows


def download(endpoint: str, token: str, cache: Path) -> float:
    """Seconds of one `snapshot_download` into an empty cache, in a fresh client process."""
    shutil.rmtree(cache, ignore_errors=True)
    environment = {
        **os.environ, "HF_ENDPOINT": endpoint, "HF_TOKEN": token, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }  # fmt: skip
    run = subprocess.run(
        [sys.executable, "-c", CLIENT, MODEL, SHA],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return float(run.stdout.strip().splitlines()[-1])


def memory_mb(process: subprocess.Popen[bytes]) -> float:
    parent = psutil.Process(process.pid)
    return max(p.memory_info().rss for p in [parent, *parent.children(recursive=True)]) / 1e6


def intake(files: Path, folder: Path) -> dict[str, float]:
    """MB/s of the store's write path (write, sha256, git id, fsync) and of `sha256sum` over the same bytes."""
    size = sum(p.stat().st_size for p in files.iterdir()) / 1e6
    environment = {**os.environ, "ASSAY_DATA": str(folder), "DJANGO_SETTINGS_MODULE": "config.settings"}
    code = (
        "import django, sys, time; django.setup()\nfrom pathlib import Path\nfrom registry import store\n"
        "started = time.perf_counter()\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    with path.open('rb') as f: store.put(iter(lambda: f.read(1 << 20), b''), size=path.stat().st_size)\n"
        "print(time.perf_counter() - started)"
    )
    put = subprocess.run(
        [sys.executable, "-c", code, str(files)], env=environment, check=True, capture_output=True, text=True
    )
    begun = time.perf_counter()
    subprocess.run(["sha256sum", *map(str, files.iterdir())], check=True, capture_output=True)
    return {"store": size / float(put.stdout), "sha256sum": size / (time.perf_counter() - begun)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=1024, help="size of the revision")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if not shutil.which("nginx"):
        sys.exit("nginx is missing: apt-get install nginx-light")
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(measure(Path(name), options.mb, options.rounds)))


def measure(folder: Path, megabytes: int, rounds: int) -> dict[str, Any]:
    files, data = folder / "files", folder / "data"
    files.mkdir()
    for number in range(4):
        with (files / f"model-{number + 1:05}-of-00004.safetensors").open("wb") as file:
            for _ in range(megabytes // 4):
                file.write(os.urandom(1 << 20))
    environment = {**os.environ, "ASSAY_DATA": str(data), "ASSAY_LOG_LEVEL": "WARNING"}
    environment["DJANGO_SETTINGS_MODULE"] = "config.settings"
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], env=environment, check=True)
    code = f"from benchmarks.gateway import fill; print(fill({str(files)!r}))"
    made = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    token = made.stdout.strip().splitlines()[-1]
    ports = [free_port() for _ in range(4)]
    api = folder / "api" / "api" / "models" / MODEL / "tree"
    api.mkdir(parents=True)
    (api / SHA).write_text(json.dumps(tree(files)), encoding="utf-8")
    configuration = nginx_configuration(folder, files, ports[0], ports[1], ports[2], data / "store")
    accel = {**environment, "ASSAY_ACCEL": "accel:/_store/"}
    seconds: dict[str, list[float]] = {"nginx": [], "gateway": [], "gateway behind nginx": []}
    with (
        started(["nginx", "-c", str(configuration)], environment, f"http://127.0.0.1:{ports[0]}/"),
        started(web(environment, ports[3]), environment, f"http://127.0.0.1:{ports[3]}/healthz") as alone,
        started(web(accel, ports[2]), accel, f"http://127.0.0.1:{ports[2]}/healthz"),
    ):
        ways = {
            "nginx": f"http://127.0.0.1:{ports[0]}",
            "gateway": f"http://127.0.0.1:{ports[3]}/hub",
            "gateway behind nginx": f"http://127.0.0.1:{ports[1]}/hub",
        }
        before = memory_mb(alone)
        for _ in range(rounds + 1):  # the first round warms caches (and verifies digests) and does not count
            for way, endpoint in ways.items():
                seconds[way].append(download(endpoint, token, folder / "cache"))
        after = memory_mb(alone)
    rate = {
        way: round(megabytes * 1.048576 / statistics.median(times[1:]), 1) for way, times in seconds.items()
    }
    return {
        "benchmark": "gateway", "mb": megabytes, "rounds": rounds, "mb_s": rate,
        "gateway_to_nginx": round(rate["gateway"] / rate["nginx"], 3),
        "behind_nginx_to_nginx": round(rate["gateway behind nginx"] / rate["nginx"], 3),
        "first_download_s": {way: round(times[0], 2) for way, times in seconds.items()},
        "web_memory_mb": {"before": round(before, 1), "after": round(after, 1)},
        "intake_mb_s": {key: round(value, 1) for key, value in intake(files, folder / "intake").items()},
    }  # fmt: skip


if __name__ == "__main__":
    main()
