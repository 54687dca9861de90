"""`python -m config.launch up` and `... demo [--exit]`: what `make up` and `make demo` run.

up    the embedded set-up on the data folder (ASSAY_DATA, default var), against the real Hub (HF_ENDPOINT).
demo  the same on a fresh folder, with a sample Hub, sample people, and the story of a model's governed life.
Ctrl-C or SIGTERM ends every process that was started here.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from config import env
from config.embedded import HOST, Embedded, Refused, lock_folder
from config.supervisor import NotReady, ProcessDied
from registry.secret_files import write_secret
from reviews.demo.accounts import PEOPLE
from reviews.demo.scene import Scene
from reviews.demo.story import closing_table, steps
from reviews.demo.telling import Teller

HUB = "hub"


def say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m config.launch",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="serve, with your own data and the real Hub")
    demo_parser = commands.add_parser("demo", help="tell the story on sample data, then serve it")
    demo_parser.add_argument("--exit", action="store_true", help="stop when the story is told")
    options = parser.parse_args()
    # A shell starts background jobs with SIGINT ignored; `make demo &` must still end at `kill -INT`.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup means it
            signal.signal(number, _interrupt)
    try:
        return up() if options.command == "up" else demo(leave=options.exit)
    except (ProcessDied, NotReady, Refused, FileNotFoundError) as problem:
        say(f"\n{problem}")
        return 1
    except KeyboardInterrupt:
        return 130


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


@contextmanager
def running(embedded: Embedded) -> Iterator[Embedded]:
    """Whatever happens inside, nothing that was started is left behind."""
    try:
        yield embedded
    finally:
        embedded.stop()


def _serve(embedded: Embedded) -> None:
    try:
        embedded.serve()
    except KeyboardInterrupt:
        say("")


# --- up ----------------------------------------------------------------------------------------------------------------


def up() -> int:
    """Serves the data folder until Ctrl-C (then 0). Raises Refused, ProcessDied, NotReady."""
    if env.read("ASSAY_MODE") != "embedded":
        raise Refused(
            "`make up` is the embedded set-up; ASSAY_MODE says production. See docker-compose.yml for that."
        )
    data: Path = env.read("ASSAY_DATA")
    with lock_folder(data):
        embedded = Embedded(
            data,
            os.environ,
            say,
            web_port=env.read("ASSAY_WEB_PORT"),
            inference_port=env.read("ASSAY_INFERENCE_PORT"),
        )
        with running(embedded):
            _start(embedded)
            say("")
            _addresses(embedded, hub=env.read("HF_ENDPOINT"))
            where = f"ASSAY_DATA={shlex.quote(str(data))} " if "ASSAY_DATA" in os.environ else ""
            say(f"\nThe first admin, in another terminal:  {where}.venv/bin/python manage.py createsuperuser")
            say(f"Then sign in at {embedded.web_url}/admin/ and add a team and who has which role in it.")
            say("Ctrl-C stops everything.")
            _serve(embedded)
    return 0


def _start(embedded: Embedded) -> None:
    started = time.monotonic()
    embedded.start_broker()
    embedded.prepare_database()
    embedded.start_services()
    names = ", ".join(embedded.supervisor.children)
    say(f"Running after {time.monotonic() - started:.0f} s: {names}.")


def _addresses(embedded: Embedded, *, hub: str) -> None:
    say(f"  dashboard   {embedded.web_url}/")
    say(f"  API         {embedded.web_url}/api/v1/docs")
    say(f"  inference   {embedded.inference_url}/v1/predict/<org>/<name>")
    say(f"  Hub         {hub}")
    say(f"  data, logs  {embedded.data}, {embedded.data / 'logs'}")


# --- demo --------------------------------------------------------------------------------------------------------------


def demo(*, leave: bool) -> int:
    """Tells the story; 0 when every step held. Raises Refused, ProcessDied, NotReady."""
    base: Path = env.read("ASSAY_DATA")
    data, told = base / "demo", base / "demo.json"
    with lock_folder(data):
        told.unlink(missing_ok=True)
        shutil.rmtree(data, ignore_errors=True)
        embedded = Embedded(
            data,
            _clean_environment(),
            say,
            web_port=env.read("ASSAY_WEB_PORT"),
            inference_port=env.read("ASSAY_INFERENCE_PORT"),
        )
        with running(embedded):
            good = _tell(embedded, base / "cache" / "sample-model", told)
            if not leave:
                _accounts(told)
                say("\nCtrl-C stops everything.")
                _serve(embedded)
    return 0 if good else 1


def _clean_environment() -> dict[str, str]:
    """The caller's environment without what belongs to a real installation: the demo must not touch that one's
    database or broker, and the sample Hub must not see a real token."""
    foreign = {
        *env.SETTINGS,
        *(f"{name}_FILE" for name in env.SETTINGS),
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
    }
    kept = {name: value for name, value in os.environ.items() if name not in foreign}
    ignored = sorted({"DATABASE_URL", "ASSAY_BROKER_URL"} & set(os.environ))
    if ignored:
        say(f"The demo uses its own database and broker; {' and '.join(ignored)} is not used.")
    return {**kept, "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}


def _tell(embedded: Embedded, cache: Path, told: Path) -> bool:
    commits = _start_hub(embedded, cache)
    _start(embedded)
    accounts = json.loads(embedded.manage("demo_accounts"))
    scene = Scene(
        web=embedded.web_url,
        inference=embedded.inference_url,
        model_id=commits["model_id"],
        commits=commits["commits"],
        golden_csv=(env.BASE_DIR / "tests" / "sample_model" / "data" / "golden.csv").read_bytes(),
        publish=lambda version: _publish(embedded, version),
        alive=embedded.supervisor.check,
        data=embedded.data,
        **accounts,
    )
    say("")
    teller = Teller(say, alive=embedded.supervisor.check)
    good = teller.tell(steps(scene))
    say("")
    for line in closing_table(scene):
        say(line)
    record: dict[str, Any] = {
        "web": embedded.web_url,
        "hub": embedded.env["HF_ENDPOINT"],
        "inference": embedded.inference_url,
        **accounts,
        **commits,
        "database": f"sqlite:///{embedded.data / 'assay.sqlite3'}",
        "pids": {"launcher": os.getpid(), **embedded.supervisor.pids()},
    }
    write_secret(told, json.dumps(record, indent=2))
    say(f"\n{teller.verdict()}  For scripts that go on from here: {told}")
    return good


def _hub_command(embedded: Embedded, *words: str) -> list[str]:
    return [sys.executable, "-m", "tests.sample_hub", *words, "--root", str(embedded.data / HUB)]


def _start_hub(embedded: Embedded, cache: Path) -> dict[str, Any]:
    """Builds and serves the sample Hub; {"model_id", "commits": {"v1", "v2", "v3"}}."""
    started = time.monotonic()
    say("Building the sample Hub (the first time trains its model, about a minute) ...")
    built: dict[str, Any] = json.loads(
        embedded.run("hub-build", _hub_command(embedded, "build", "--cache", str(cache))).splitlines()[-1]
    )
    port = embedded.claim_port(env.read("ASSAY_DEMO_HUB_PORT"), "the sample Hub")
    child = embedded.supervisor.start(
        HUB, _hub_command(embedded, "serve", "--port", str(port)), env=embedded.env, cwd=env.BASE_DIR
    )
    embedded.supervisor.wait_until(HUB, lambda: "ready http" in child.written(), timeout_s=60)
    embedded.env["HF_ENDPOINT"] = f"http://{HOST}:{port}"
    say(f"The sample Hub holds {built['model_id']} (v1, v2, v3) after {time.monotonic() - started:.0f} s.")
    return {"model_id": built["model_id"], "commits": built["commits"]}


def _publish(embedded: Embedded, version: str) -> str:
    """Moves main of the sample model to a version, as its author would; returns the commit."""
    words = _hub_command(embedded, "publish")
    return str(json.loads(embedded.run("hub-publish", [*words, version]).splitlines()[-1])["sha"])


def _accounts(told: Path) -> None:
    record = json.loads(told.read_text(encoding="utf-8"))
    say("\nSample accounts (this demo's data folder only):")
    say(f"  {'name':<16}{'password':<20}who")
    for person in PEOPLE:
        roles = ", ".join(role.replace("_", " ") for role in person.roles)
        say(
            f"  {person.role:<16}{record['passwords'][person.role]:<20}{person.name}: {roles} in {person.team}"
        )
    say("")
    say(f"  dashboard   {record['web']}/      API  {record['web']}/api/v1/docs")
    say(f"  sample Hub  {record['hub']}   inference  {record['inference']}/v1/predict/{record['model_id']}")


if __name__ == "__main__":
    sys.exit(main())
