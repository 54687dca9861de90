"""The OpenAPI file in docs/ says what the code does now, and was generated without a doubt."""

from __future__ import annotations

import io
from contextlib import redirect_stderr
from pathlib import Path

import pytest
import yaml
from django.core.management import call_command
from django.db import connection

FILE = Path(__file__).resolve().parents[2] / "docs" / "openapi.yaml"


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the widths of integers in the schema are SQLite's")
def test_openapi_file_is_what_the_code_says() -> None:
    out, doubts = io.StringIO(), io.StringIO()
    with redirect_stderr(doubts):
        call_command("spectacular", "--validate", stdout=out)
    assert doubts.getvalue().strip() == ""
    assert out.getvalue() == FILE.read_text(encoding="utf-8"), (
        "run: python manage.py spectacular --file docs/openapi.yaml"
    )


def test_openapi_names_every_api_address() -> None:
    paths = yaml.safe_load(FILE.read_text(encoding="utf-8"))["paths"]
    assert "/api/v1/models/{org}/{name}/approved" in paths
    assert "/api/v1/reviews/{id}/decision" in paths
    assert len(paths) >= 30
