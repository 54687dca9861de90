"""A container's limit counts, whatever its host has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inference.engine.cores import usable_cores

MANY = 64


@pytest.fixture(autouse=True)
def many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(MANY)), raising=False)


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({}, MANY),
        ({"cpu.max": "max 100000\n"}, MANY),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "10000 100000\n"}, 1),
        ({"cpu.max": "99900000 100000\n"}, MANY),
        ({"cpu.max": "rubbish"}, MANY),
        ({"cpu.max": "200000 0"}, MANY),
        ({"pod/cpu.max": "400000 100000\n"}, 4),
        ({"pod/box/cpu.max": "max 100000\n", "pod/cpu.max": "300000 100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "500000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, MANY),
    ],
)
def test_the_quota_of_a_group_or_of_one_above_it_counts(
    tmp_path: Path, files: dict[str, str], wanted: int
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    member = tmp_path / "member"
    member.write_text(
        "1:name=systemd:/elsewhere\n0::/pod/../box\n" if "pod" not in str(files) else "0::/pod/box\n"
    )
    assert usable_cores(tmp_path, member) == wanted


def test_without_groups_the_mask_counts(tmp_path: Path) -> None:
    assert usable_cores(tmp_path / "none", tmp_path / "neither") == MANY
