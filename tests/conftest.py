"""What every Django test stands on: a database on disk, a store of its own, and no broker but a list."""

from __future__ import annotations

import os

# huggingface_hub reads these once, when it is first imported.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings as django_settings
from django.db import connection, connections
from django.test import TransactionTestCase
from django.utils import translation

if TYPE_CHECKING:  # models can be imported under settings only, and some tests run without (-p no:django)
    from tests.factories import Api, World
    from tests.registry.hubs import Hub

_TEARDOWN = "_fixture_teardown"  # a private name of Django's, which its type stubs do not list
_flush = getattr(TransactionTestCase, _TEARDOWN)


def _flush_without_rules(self: TransactionTestCase) -> None:
    """Django empties the tables after a transactional test; our append-only triggers would (rightly) refuse."""
    from tests.house.rules import without_rules

    with without_rules(connection):
        _flush(self)


def pytest_configure(config: pytest.Config) -> None:
    if django_settings.configured:
        # A slow hash is a virtue in production and minutes in a test run.
        django_settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    setattr(TransactionTestCase, _TEARDOWN, _flush_without_rules)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """SQLite in a file, as people run it: threads of one test must meet the same locks and the same WAL."""
    default = connections["default"]
    if default.vendor == "sqlite":
        default.settings_dict["TEST"]["NAME"] = str(tmp_path_factory.mktemp("db") / "test.sqlite3")


@pytest.fixture(autouse=True)
def own_language() -> Iterator[None]:
    """A page in Vietnamese leaves its language with the thread, as Django does until the next request."""
    yield
    if django_settings.configured:
        translation.deactivate()


@pytest.fixture(autouse=True)
def own_folders(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Nothing of a test lands in the data folder of the person who runs it."""
    if django_settings.configured:
        settings = request.getfixturevalue("settings")
        settings.STORE_DIR = tmp_path / "store"
        settings.DATA_DIR = tmp_path / "data"
        settings.KEYS_DIR = tmp_path / "keys"
        settings.WITNESSES = []
        # A heart beats from its own connection, which would wait for the lock of the test's transaction.
        settings.JOB_HEARTBEAT_S = 3600
        # Each takes the seconds that transformers needs to be imported; tests/inspection/test_probes.py asks for them.
        settings.INSPECTION_PROBES = []


@pytest.fixture(autouse=True)
def bells(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The broker of unit tests: the ids that were rung. A demo that runs beside the tests hears nothing."""
    rung: list[int] = []
    if not django_settings.configured:
        return rung
    from registry.tasks import run_job

    def ring(args: tuple[int], queue: str) -> None:
        rung.append(args[0])

    monkeypatch.setattr(run_job, "apply_async", ring)
    return rung


@pytest.fixture(autouse=True)
def notes_in_the_foreground(monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloads are counted by a thread; in a test that is one transaction, `consumers.flush()` writes what it counted."""
    if django_settings.configured:
        from registry import store
        from registry.gateway import consumers

        monkeypatch.setattr(consumers, "in_background", False)
        monkeypatch.setattr(consumers, "_seen", {})
        store.forget()


@pytest.fixture
def world(db: None) -> World:
    """A team with one person a role, a second team, and a service account."""
    from tests.factories import make_world

    return make_world()


@pytest.fixture
def api() -> Callable[..., Api]:
    """`api(actor)`: a client with a fresh token of that actor; `api(None)`: a stranger."""
    from tests.factories import Api

    return Api.of


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A running sample Hub with one small model, and the settings pointed at it."""
    from tests.registry.hubs import sample_hub

    with sample_hub(tmp_path / "hub", monkeypatch) as running:
        yield running


@pytest.fixture
def raw() -> Callable[..., int]:
    """`raw("UPDATE ... WHERE id = %s", 1)`: SQL past Django, as a person with a database shell writes it."""

    def execute(sql: str, *params: Any) -> int:
        with connection.cursor() as cursor:
            cursor.execute(sql, params)
            return int(cursor.rowcount)

    return execute


@pytest.fixture
def rules_installed() -> Iterator[None]:
    """For tests that drop triggers themselves: they are back afterwards, whatever happened."""
    from registry import triggers
    from tests.house.rules import ALL

    yield
    triggers.install(connection, ALL)
