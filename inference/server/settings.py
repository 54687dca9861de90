"""Settings of the server, from the environment, read once. A bad value is refused with its cure."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import urlsplit

MOST_WEB_WORKERS = 64


class SettingsError(ValueError):
    """A setting is missing or wrong; the message says which and what to write."""


@dataclass(frozen=True)
class Limits:
    """What one caller, one request and one process may ask for. Shown at /limits."""

    max_body_bytes: int = 2_000_000
    max_inputs: int = 32
    max_chars_per_input: int = 100_000
    max_top_k: int = 100
    max_queued_inputs: int = 64
    max_wait_s: float = 2.0
    max_concurrent_requests: int = 256
    deadline_s: float = 10.0
    # Per token; 0 is no limit.
    requests_per_s: float = 100.0
    tokens_per_minute: float = 0.0


@dataclass(frozen=True)
class ServerSettings:
    """Where the control plane is, who we are there, where files are kept, and how patient we are
    (seconds)."""

    control_url: str
    server_token: str = field(repr=False)
    cache: Path
    server_token_file: Path | None = None
    manifest_poll_s: float = 2.0
    report_s: float = 10.0
    check_s: float = 15.0
    load_timeout_s: float = 120.0
    keep_loaded_mb: int = 1024
    cache_mb: int = 51_200
    # Weights in memory at most; 0 is no limit. What does not fit is loaded when somebody asks for it.
    memory_budget_mb: int = 0
    protected_channels: tuple[str, ...] = ("production",)
    # Anything but fp32 answers within a declared tolerance of it, and says so in every answer's variant.
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    # How the processes that compute share the cores of a CPU; empty is adaptive.
    cpu_layout: Literal["", "adaptive", "latency", "throughput"] = ""
    drain_delay_s: float = 1.0
    drain_timeout_s: float = 30.0
    # Processes that speak HTTP before one that holds the models; 0 or 1: all in one process.
    web_workers: int = 0
    log_key: str = field(default="", repr=False)
    # Host names with a dot by which clients reach this server; addresses and names without a dot need no entry.
    hosts: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)


# Every environment variable: name -> (field, least value, kind). Limits are prefixed with "limits.".
NUMBERS: dict[str, tuple[str, float, Callable[[str], float]]] = {
    "ASSAY_MANIFEST_POLL_S": ("manifest_poll_s", 0.05, float),
    "ASSAY_SERVER_REPORT_S": ("report_s", 0.05, float),
    "ASSAY_SERVER_CHECK_S": ("check_s", 0.05, float),
    "ASSAY_SERVER_LOAD_TIMEOUT_S": ("load_timeout_s", 1, float),
    "ASSAY_SERVER_CACHE_MB": ("cache_mb", 0, int),
    "ASSAY_SERVER_KEEP_LOADED_MB": ("keep_loaded_mb", 0, int),
    "ASSAY_SERVER_MEMORY_MB": ("memory_budget_mb", 0, int),
    "ASSAY_SERVER_DRAIN_DELAY_S": ("drain_delay_s", 0, float),
    "ASSAY_SERVER_DRAIN_TIMEOUT_S": ("drain_timeout_s", 1, float),
    "ASSAY_SERVER_WEB_WORKERS": ("web_workers", 0, int),
    "ASSAY_SERVER_MAX_BODY_BYTES": ("limits.max_body_bytes", 1024, int),
    "ASSAY_SERVER_MAX_INPUTS": ("limits.max_inputs", 1, int),
    "ASSAY_SERVER_MAX_CHARS": ("limits.max_chars_per_input", 1, int),
    "ASSAY_SERVER_MAX_QUEUED_INPUTS": ("limits.max_queued_inputs", 1, int),
    "ASSAY_SERVER_MAX_WAIT_S": ("limits.max_wait_s", 0.01, float),
    "ASSAY_SERVER_MAX_CONCURRENT_REQUESTS": ("limits.max_concurrent_requests", 1, int),
    "ASSAY_SERVER_DEADLINE_S": ("limits.deadline_s", 0.1, float),
    "ASSAY_SERVER_REQUESTS_PER_S": ("limits.requests_per_s", 0, float),
    "ASSAY_SERVER_TOKENS_PER_MINUTE": ("limits.tokens_per_minute", 0, float),
}


def read_settings(environment: Mapping[str, str] = os.environ) -> ServerSettings:
    """The settings from the environment. Raises SettingsError with the cure."""
    values: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    for name, (target, least, kind) in NUMBERS.items():
        if raw := environment.get(name):
            holder, _, key = target.rpartition(".")
            (limits if holder else values)[key] = _number(name, raw, least, kind)
    settings = ServerSettings(
        control_url=_url(environment.get("ASSAY_CONTROL_URL", "")),
        server_token=_secret(environment, "ASSAY_SERVER_TOKEN"),
        server_token_file=Path(file) if (file := environment.get("ASSAY_SERVER_TOKEN_FILE")) else None,
        cache=_folder(environment.get("ASSAY_SERVER_CACHE", "")),
        log_key=environment.get("ASSAY_SERVER_LOG_KEY", ""),
        protected_channels=tuple(
            environment.get("ASSAY_SERVER_PROTECTED_CHANNELS", "production").replace(",", " ").split()
        ),
        hosts=tuple(environment.get("ASSAY_SERVER_HOSTS", "").replace(",", " ").split()),
        precision=_precision(environment.get("ASSAY_SERVER_PRECISION", "")),
        cpu_layout=_layout(environment.get("ASSAY_SERVER_CPU_LAYOUT", "")),
        limits=Limits(**limits),
        **values,
    )
    if settings.limits.max_queued_inputs < settings.limits.max_inputs:
        raise SettingsError(
            "ASSAY_SERVER_MAX_QUEUED_INPUTS must be at least ASSAY_SERVER_MAX_INPUTS, "
            "or a full request could never be admitted."
        )
    if settings.web_workers > MOST_WEB_WORKERS:
        raise SettingsError(
            f"ASSAY_SERVER_WEB_WORKERS must be at most {MOST_WEB_WORKERS}: one a core is plenty."
        )
    return settings


def _number(name: str, raw: str, least: float, kind: Callable[[str], float]) -> float:
    try:
        value = kind(raw)
    except ValueError:
        raise SettingsError(f"{name} must be a number, for example {max(least, 1):g}.") from None
    if not least <= value < float("inf"):
        raise SettingsError(f"{name} must be at least {least:g}.")
    return value


def _precision(raw: str) -> Literal["fp32", "bf16", "fp16"]:
    if raw not in ("", "fp32", "bf16", "fp16"):
        raise SettingsError("ASSAY_SERVER_PRECISION must be fp32, bf16 or fp16.")
    return cast(Literal["fp32", "bf16", "fp16"], raw or "fp32")


def _layout(raw: str) -> Literal["", "adaptive", "latency", "throughput"]:
    if raw not in ("", "adaptive", "latency", "throughput"):
        raise SettingsError(
            "ASSAY_SERVER_CPU_LAYOUT must be latency (all cores on one batch), throughput (a batch a core) or adaptive (the "
            "one for a lone text, the other for a crowd)."
        )
    return cast(Literal["", "adaptive", "latency", "throughput"], raw)


def _url(raw: str) -> str:
    parts = urlsplit(raw)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise SettingsError("Set ASSAY_CONTROL_URL to the control plane, for example http://127.0.0.1:8000.")
    return raw.rstrip("/")


def _secret(environment: Mapping[str, str], name: str) -> str:
    path = environment.get(f"{name}_FILE")
    try:
        value = Path(path).read_text(encoding="utf-8").strip() if path else environment.get(name, "")
    except OSError:
        raise SettingsError(f"{name}_FILE names a file that cannot be read.") from None
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise SettingsError(f"Set {name} (or {name}_FILE) to the service token of this server.")
    return value


def _folder(raw: str) -> Path:
    if not raw:
        raise SettingsError("Set ASSAY_SERVER_CACHE to a folder for verified artifacts.")
    path = Path(raw).absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise SettingsError(f"ASSAY_SERVER_CACHE cannot be created: {exc.strerror}.") from None
    return path
