"""The Hub that lies: what the server is told to get wrong. Without lies every answer is true."""

import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from tests.sample_hub.errors import HubError

_counting = threading.Lock()
_CHUNK = b"\xa5" * 65536


@dataclass
class Lies:
    """`POST /_lies` with these fields replaces all lies at once; `{}` is the truth again.

    model_id: lie about this model only; None = about all.
    wrong_bytes: paths whose content arrives with its last byte changed: size, ETag and headers stay right.
    wrong_commit: X-Repo-Commit of every file answer, whatever was asked.
    moved: revision name -> commit that it resolves to, against git (a branch or tag moved behind one's back).
    status: refuse with this status; 429 comes with Retry-After and RateLimit. On `status_on`: "resolve"
      (where each download begins), "api" or "all"; for the first `status_times` requests, None = always.
    slow_s: seconds of silence before every answer about a model.
    endless: paths whose content never ends, without Content-Length.
    broken: paths whose connection breaks in the middle, for the first `broken_times` requests, None = always.
    trickle_s: seconds between the pieces (64 bytes each) of every file's content.
    redirect_to: where every resolve redirects instead of to the content.
    renamed_to: the model's new name, to which every address of the old one redirects (307), as after a rename.
    listed: file names that the API lists besides the true ones, without any content.
    unlisted: file names that the API leaves out.
    """

    model_id: str | None = None
    wrong_bytes: list[str] = field(default_factory=list)
    wrong_commit: str | None = None
    moved: dict[str, str] = field(default_factory=dict)
    status: int | None = None
    status_on: str = "resolve"
    status_times: int | None = None
    retry_after_s: int = 1
    slow_s: float = 0.0
    endless: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    broken_times: int | None = None
    trickle_s: float = 0.0
    redirect_to: str | None = None
    renamed_to: str | None = None
    listed: list[str] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)

    @classmethod
    def from_json(cls, told: Any) -> "Lies":
        """Raises ValueError on an unknown field or a wrong type: a misspelt lie would test nothing."""
        if not isinstance(told, dict):
            raise ValueError("Lies are a JSON object")
        if unknown := set(told) - {f.name for f in fields(cls)}:
            raise ValueError(f"No such lie: {', '.join(sorted(unknown))}")
        lies = cls(**told)
        lists = (lies.wrong_bytes, lies.endless, lies.broken, lies.listed, lies.unlisted)
        if not all(isinstance(paths, list) for paths in lists):
            raise ValueError("wrong_bytes, endless, broken, listed and unlisted are lists of paths")
        if not isinstance(lies.moved, dict):
            raise ValueError("moved maps a revision to a commit")
        if lies.status_on not in ("resolve", "api", "all"):
            raise ValueError("status_on is resolve, api or all")
        if lies.status is not None and not (isinstance(lies.status, int) and 400 <= lies.status <= 599):
            raise ValueError("status is 400 to 599")
        return lies

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def about(self, model_id: str) -> bool:
        return self.model_id in (None, model_id)

    def before_answer(self, model_id: str, where: str) -> None:
        """Called once a request, `where` is "resolve", "file" or "api". Sleeps; raises HubError to refuse."""
        if not self.about(model_id):
            return
        if self.slow_s:
            time.sleep(self.slow_s)
        if self.status is None or self.status_on not in (where, "all"):
            return
        with _counting:
            if self.status_times is not None:
                if self.status_times <= 0:
                    return
                self.status_times -= 1
        headers = {}
        if self.status in (429, 503):
            headers["Retry-After"] = str(self.retry_after_s)
        if self.status == 429:
            headers["RateLimit"] = f'"resolvers";r=0;t={self.retry_after_s}'
            headers["RateLimit-Policy"] = '"fixed window";"resolvers";q=3000;w=300'
        raise HubError(
            self.status, None, f"The sample Hub was told to answer {self.status}.", headers=headers
        )

    def new_name(self, model_id: str) -> str | None:
        return self.renamed_to if self.about(model_id) and self.renamed_to != model_id else None

    def commit_for(self, model_id: str, revision: str, sha: str) -> str:
        """Where `revision` is said to point, `sha` being the truth."""
        return self.moved.get(revision, sha) if self.about(model_id) else sha

    def commit_header(self, model_id: str, sha: str) -> str:
        return self.wrong_commit or sha if self.about(model_id) else sha

    def is_endless(self, model_id: str, path: str) -> bool:
        return self.about(model_id) and path in self.endless

    def tamper(
        self, model_id: str, path: str, chunks: Iterator[bytes], *, start: int, size: int
    ) -> Iterator[bytes]:
        """The chunks of a file of `size` bytes from offset `start`, with the file's last byte changed."""
        if not self.about(model_id) or path not in self.wrong_bytes:
            yield from chunks
            return
        at = start
        for chunk in chunks:
            at += len(chunk)
            yield chunk[:-1] + bytes([chunk[-1] ^ 0xFF]) if at == size else chunk

    def hamper(self, model_id: str, path: str, chunks: Iterator[bytes], *, length: int) -> Iterator[bytes]:
        """The chunks, slowly or only their first half: then the connection breaks."""
        if not self.about(model_id):
            yield from chunks
            return
        left = length // 2 if self._breaks(path) else length + 1
        for chunk in chunks:
            pieces = [chunk[n : n + 64] for n in range(0, len(chunk), 64)] if self.trickle_s else [chunk]
            for piece in pieces:
                if self.trickle_s:
                    time.sleep(self.trickle_s)
                if len(piece) >= left:
                    yield piece[:left]
                    raise ConnectionResetError("The sample Hub was told to break this connection.")
                left -= len(piece)
                yield piece

    def _breaks(self, path: str) -> bool:
        if path not in self.broken:
            return False
        with _counting:
            if self.broken_times is not None:
                if self.broken_times <= 0:
                    return False
                self.broken_times -= 1
        return True


def endless_body() -> Iterator[bytes]:
    while True:
        yield _CHUNK
