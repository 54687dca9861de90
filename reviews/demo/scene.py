"""What the story knows while it is told: addresses, people, and what has been seen so far."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reviews.demo.asking import Api
from reviews.demo.telling import expect

JOB_TIMEOUT_S = 300.0


class Scene:
    """`publish(version)` moves main on the Hub as the model's author would; `alive` raises when a process has died.

    `data` is the folder of the demo's installation.
    """

    def __init__(
        self,
        *,
        web: str,
        inference: str,
        model_id: str,
        commits: dict[str, str],
        golden_csv: bytes,
        tokens: dict[str, str],
        passwords: dict[str, str],
        publish: Callable[[str], str],
        alive: Callable[[], None],
        data: Path,
    ) -> None:
        self.web, self.inference, self.model_id, self.commits = web, inference, model_id, commits
        self.golden_csv, self.tokens, self.passwords = golden_csv, tokens, passwords
        self.publish, self.alive, self.data = publish, alive, data
        self.model = f"/api/v1/models/{model_id}"
        self.api = {role: Api(web, token) for role, token in tokens.items()}
        self.reviews: dict[str, int] = {}
        self.figures: dict[str, dict[str, Any]] = {}
        self.approvals: dict[str, int] = {}
        self.decisions: dict[str, str] = {}

    def review(self, version: str, role: str = "reviewer") -> dict[str, Any]:
        expect(version in self.reviews, f"{version} was not submitted")
        found: dict[str, Any] = self.api[role].get(f"/api/v1/reviews/{self.reviews[version]}")
        return found

    def revision(self, version: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api["reviewer"].get(f"{self.model}/revisions/{self.commits[version]}")
        return found

    def wait(self, look: Callable[[], Any], done: Callable[[Any], bool], what: str) -> Any:
        deadline = time.monotonic() + JOB_TIMEOUT_S
        while not done(seen := look()):
            self.alive()
            expect(
                time.monotonic() < deadline,
                f"{what} took more than {JOB_TIMEOUT_S:.0f} s; last seen: {seen}"[:800],
            )
            time.sleep(0.3)
        return seen

    def moves(self) -> list[dict[str, Any]]:
        moves = self.api["auditor"].get(f"{self.model}/channels/production")["moves"]
        return sorted(moves, key=lambda move: int(move["number"]))
