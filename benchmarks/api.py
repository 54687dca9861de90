"""The hot path: `GET /api/v1/models/{org}/{name}/approved` at c=1 and c=8 on two web workers, 10 and 10,000 revisions.

    python -m benchmarks.api [--seconds 5] [--rounds 3]

Prints one JSON object: requests/s and p50/p99 in ms, medians of interleaved rounds (10, 10,000, 10, 10,000 ...). Needs `wrk`
(apt-get install wrk). Everything runs on loopback, in a temporary folder, and is gone afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.server.running import free_port

MODEL = "acme/bench-model"
SIZES = (10, 10_000)


def fill(revisions: int) -> str:
    """Runs inside `manage.py`'s settings: one team, one model with `revisions` approved revisions; returns a token."""
    import django

    django.setup()
    from django.contrib.auth.hashers import make_password
    from django.db import connection, transaction
    from django.utils import timezone

    from registry import triggers
    from registry.actors import Actor
    from registry.enums import CodeAudit, Role
    from registry.models import Approval, Channel, Membership, RegisteredModel, Revision, Team, User
    from registry.services.channels import move_channel
    from registry.services.tokens import create_token
    from reviews.triggers import APPROVAL_QUORUM

    team = Team.objects.create(slug="acme", name="Acme")
    people = [User.objects.create(username=name, password=make_password(None)) for name in ("one", "two")]
    for person in people:
        Membership.objects.create(user=person, team=team, role=Role.RELEASE_MANAGER)
    model = RegisteredModel.objects.create(team=team, model_id=MODEL, pipeline_tag="text-classification")
    now = timezone.now()
    later = now + timedelta(days=100)
    facts: dict[str, Any] = {"config": {"max_position_embeddings": 512}, "tokenizer": {"max_length": 512}}
    config = {"architectures": ["DistilBertForSequenceClassification"]}
    card = "# Card\n" + "A line of a model card, as long as such lines are.\n" * 150
    with transaction.atomic():
        rows = Revision.objects.bulk_create(
            Revision(
                model=model, commit_sha=f"{n:040x}", requested_revision="main", manifest_sha256=f"{n:064x}", total_size=1,
                card_text=card, config=config, facts=facts, label_mapping={"0": "negative", "1": "positive"},
                pipeline_tag="text-classification", code_audit=CodeAudit.NOT_APPLICABLE,
            )
            for n in range(1, revisions + 1)
        )  # fmt: skip
        # The rows stand for years of reviews; what is measured is reading them.
        triggers.uninstall(connection, [APPROVAL_QUORUM])
        approvals = Approval.objects.bulk_create(
            Approval(
                model=model, revision=row, environment="production", use_case="benchmark", data_class="public",
                manifest_sha256=row.manifest_sha256, content_sha256="0" * 64, policy_version="1", submitted_by=people[0],
                approved_by=people[1], approved_at=now, expires_at=later, status_at=now, status_by=people[1],
            )
            for row in rows
        )  # fmt: skip
        triggers.install(connection, [APPROVAL_QUORUM])
    actor = Actor(user=people[1], team=team, roles=frozenset({Role.RELEASE_MANAGER}), auth_method="benchmark")
    move_channel(
        actor=actor,
        model=model,
        name="production",
        approval=approvals[-1],
        reason="the newest of the benchmark",
    )
    assert Channel.objects.count() == 1
    _, token = create_token(actor=actor, name="benchmark", scopes=["read"], days=1)
    return token


@contextmanager
def served(folder: Path, revisions: int) -> Iterator[tuple[str, str]]:
    """(address, token) of a web process with two workers over a fresh SQLite database."""
    environment = {**os.environ, "ASSAY_DATA": str(folder), "ASSAY_LOG_LEVEL": "WARNING"}
    environment.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], env=environment, check=True)
    made = subprocess.run(
        [sys.executable, "-c", f"from benchmarks.api import fill; print(fill({revisions}))"],
        env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    port = free_port()
    command = [
        "granian", "--interface", "wsgi", "config.wsgi:application", "--host", "127.0.0.1", "--port", str(port),
        "--workers", "2", "--blocking-threads", "4", "--no-access-log", "--log-level", "warning",
    ]  # fmt: skip
    process = subprocess.Popen([str(Path(sys.executable).parent / command[0]), *command[1:]], env=environment)
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1).read()
                break
            except OSError:
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}", made.stdout.strip().splitlines()[-1]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=15)


def load(address: str, token: str, connections: int, seconds: int) -> dict[str, float]:
    """One wrk window: requests/s, p50 and p99 in ms. Raises RuntimeError on any answer but 200."""
    run = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-H", f"Authorization: Bearer {token}",
         f"{address}/api/v1/models/{MODEL}/approved"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    if "Non-2xx" in run.stdout or "Socket errors" in run.stdout:
        raise RuntimeError(run.stdout)
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", run.stdout)[1])  # type: ignore[index]

    def percentile(name: str) -> float:
        value, unit = re.search(rf"{name}%\s+([\d.]+)(us|ms|s)", run.stdout).groups()  # type: ignore[union-attr]
        return float(value) * {"us": 0.001, "ms": 1, "s": 1000}[unit]

    return {"requests_s": rate, "p50_ms": percentile("50"), "p99_ms": percentile("99")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="length of one window")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds; medians are printed")
    options = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("wrk is missing: apt-get install wrk")
    windows: dict[tuple[int, int], list[dict[str, float]]] = {(n, c): [] for n in SIZES for c in (1, 8)}
    with (
        tempfile.TemporaryDirectory() as one,
        tempfile.TemporaryDirectory() as two,
        served(Path(one), SIZES[0]) as few,
        served(Path(two), SIZES[1]) as many,
    ):
        for _ in range(options.rounds):
            for connections in (1, 8):
                for size, (address, token) in zip(SIZES, (few, many), strict=True):
                    load(address, token, connections, 1)  # warm
                    windows[size, connections].append(load(address, token, connections, options.seconds))
    result = {
        f"{size} revisions, c={connections}": {
            key: round(statistics.median(window[key] for window in rows), 2) for key in rows[0]
        }
        for (size, connections), rows in windows.items()
    }
    ratio = result["10000 revisions, c=8"]["requests_s"] / result["10 revisions, c=8"]["requests_s"]
    print(json.dumps({"benchmark": "api", "rounds": options.rounds, "seconds": options.seconds, **result,
                      "ratio_10000_to_10_c8": round(ratio, 3)}))  # fmt: skip


if __name__ == "__main__":
    main()
