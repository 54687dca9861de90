"""docker-compose.yml, Dockerfile and .env.example, read as data: no Docker engine is needed to see that each command,
variable and file they name exists and is the one that the demo runs."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from django.core.management import get_commands

from config import env, private_redis, processes
from inference.server.settings import read_settings

ROOT = env.BASE_DIR
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "assay:local"}
PORTS = {"web": 8000, "inference": 8100}
# Variables of the libraries that we rely on.
OF_LIBRARIES = {"HF_TOKEN", "OMP_NUM_THREADS", "REMAP_SIGTERM"}
FILLED_IN = {
    "ASSAY_SECRET_KEY": "0123456789" * 5,
    "POSTGRES_PASSWORD": "abc123",
    "REDIS_PASSWORD": "def456",
}
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")


def server_variables() -> set[str]:
    """Every variable that the inference server reads, as its source names them."""
    source = (ROOT / "inference" / "server" / "settings.py").read_text(encoding="utf-8")
    names = set(re.findall(r'"(ASSAY_[A-Z_]+)"', source))
    return names | {f"{name}_FILE" for name in names if name.endswith("TOKEN")}


def example_values() -> dict[str, str]:
    lines = [line for line in EXAMPLE.splitlines() if line and not line.startswith("#")]
    return {**dict(line.split("=", 1) for line in lines), **FILLED_IN}


def filled_in(value: str) -> str:
    """Compose's own substitution, as far as our file uses it: ${NAME:-default} and ${NAME:?why}."""
    values = example_values()

    def put(found: re.Match[str]) -> str:
        name, operator, rest = found.group(1), found.group(2), found.group(3) or ""
        given = values.get(name, "")
        assert given or operator == ":-", f"{name} is required ({rest}) and .env.example does not set it"
        return given or rest

    return re.sub(r"\$\{(\w+)(?:(:-|:\?)([^}]*))?\}", put, value)


def environment_of(service: str) -> dict[str, str]:
    return {name: filled_in(str(value)) for name, value in SERVICES[service]["environment"].items()}


def test_services_are_exactly_the_processes_of_the_launcher() -> None:
    assert set(OURS) == set(processes.PROCESSES)
    assert set(SERVICES) - set(OURS) == {"inference-front", "postgres", "redis"}


@pytest.mark.parametrize("name", sorted(processes.PROCESSES))
def test_command_is_the_one_that_the_demo_runs(name: str) -> None:
    expected = processes.words(name, host="0.0.0.0", port=PORTS.get(name, 0), data="/data")
    assert shlex.split(SERVICES[name]["command"]) == expected


@pytest.mark.parametrize("name", sorted(processes.PROCESSES))
def test_command_names_a_program_that_exists(name: str) -> None:
    program, *rest = processes.words(name)
    assert Path(processes.argv(name)[0]).is_file()
    if program == "python" and rest[0] == "-m":
        assert importlib.util.find_spec(f"{rest[1]}.__main__")
    elif program == "python":
        assert rest[0] == "manage.py" and (ROOT / "manage.py").is_file()
        assert rest[1] in get_commands()
    elif program == "granian":
        module, _, attribute = rest[2].partition(":")
        assert hasattr(importlib.import_module(module), attribute)
    else:
        assert rest[:2] == ["-A", "config"] and importlib.import_module("config").celery_app


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_variable_is_one_that_is_read(name: str) -> None:
    known = set(env.SETTINGS) | {f"{n}_FILE" for n in env.SETTINGS} | server_variables() | OF_LIBRARIES
    assert set(SERVICES[name]["environment"]) <= known
    for variable, value in processes.PROCESSES[name].env.items():
        assert SERVICES[name]["environment"][variable] == value


def test_every_variable_that_is_asked_for_stands_in_the_example() -> None:
    asked = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text(encoding="utf-8")))
    documented = set(re.findall(r"^#?([A-Z0-9_]+)=", EXAMPLE, re.MULTILINE))
    assert asked <= documented
    assert set(env.SETTINGS) <= documented
    assert {name for name in server_variables() if not name.endswith("_FILE")} <= documented


def test_example_shows_the_true_defaults() -> None:
    shown = dict(re.findall(r"^#([A-Z_]+)=(.*)$", EXAMPLE, re.MULTILINE))
    for name, setting in env.SETTINGS.items():
        if name in shown:
            assert shown[name] == setting.default, name


def test_only_web_and_the_front_of_inference_publish_a_port_and_only_on_loopback() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    fronts = {"web": "web", "inference": "inference-front"}
    assert published == {fronts[name]: [f"127.0.0.1:{port}:{port}"] for name, port in PORTS.items()}


def test_inference_knows_no_secret_of_the_control_plane() -> None:
    given = environment_of("inference")
    assert not {"DATABASE_URL", "ASSAY_SECRET_KEY", "ASSAY_BROKER_URL", "HF_TOKEN"} & set(given)
    assert SERVICES["inference"]["volumes"] == ["inference-cache:/cache", "tokens:/tokens:ro"]


def test_inference_server_accepts_its_variables(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("assay_x", encoding="utf-8")
    given = environment_of("inference")
    given.update(ASSAY_SERVER_TOKEN_FILE=str(tmp_path / "token"), ASSAY_SERVER_CACHE=str(tmp_path / "cache"))
    assert read_settings(given).control_url == "http://web:8000"


@pytest.mark.parametrize("name", ["web", "worker"])
def test_production_starts_on_these_variables(name: str, tmp_path: Path) -> None:
    given = {**environment_of(name), "ASSAY_DATA": str(tmp_path), "PATH": os.environ["PATH"]}
    (tmp_path / "static").mkdir()
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "ERROR"]
    checked = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert given["ASSAY_HOSTS"].split(",") == ["assay.example.com", "web", "127.0.0.1"]


def test_missing_secret_stops_compose() -> None:
    required = re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    assert {"ASSAY_SECRET_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD", "ASSAY_HOSTS"} <= set(required)


def test_named_volumes_are_declared() -> None:
    used = {mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])}
    files = {mount for mount in used if mount.startswith("./")}
    assert all((ROOT / file).is_file() for file in files)
    assert used - files == set(COMPOSE["volumes"])


def test_dockerfile_copies_what_exists_and_every_package() -> None:
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    words = [word for line in lines if line.startswith("COPY") for word in line.split()[2:-1]]
    assert all((ROOT / word).exists() for word in words)
    # cli is the engineers' command: it is installed where they work, and no service runs it.
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {
        "tests",
        "benchmarks",
        "cli",
        "tools",
    }
    assert packages | {"templates", "static", "manage.py", "constraints.txt"} <= set(words)
    allowed = set((ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines())
    assert {f"!{word.split('/')[0]}" for word in words} <= allowed


@pytest.mark.service
def test_redis_command_starts_with_password_and_append_only_file(tmp_path: Path) -> None:
    """The very shell command of the file, with the folder and the address changed to private ones."""
    shell, flag, script = SERVICES["redis"]["command"]
    script = script.replace("$$", "$").replace(
        "--dir /data", f"--dir {tmp_path} --port 0 --unixsocket {tmp_path}/s"
    )
    beside = Path(processes.find_program("redis-server")).parent
    given = {"PATH": f"{beside}:{os.environ['PATH']}", "REDIS_PASSWORD": "secret99"}
    with subprocess.Popen([shell, flag, script], env=given, stdout=subprocess.DEVNULL) as server:
        try:
            asked = _ask_redis(tmp_path / "s")
        finally:
            server.terminate()
    assert "noeviction" in asked["maxmemory-policy"]
    assert (asked["appendonly"], asked["appendfsync"]) == ("yes", "everysec")
    assert (tmp_path / "appendonly.aof").exists() or (tmp_path / "appendonlydir").exists()


def _ask_redis(socket_file: Path) -> dict[str, str]:
    deadline = time.monotonic() + 20
    while not socket_file.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not private_redis.answers(socket_file), "it answers without the password"
    with redis.Redis(unix_socket_path=str(socket_file), password="secret99", decode_responses=True) as client:
        found: Any = client.config_get("*")
        return {str(name): str(value) for name, value in found.items()}
