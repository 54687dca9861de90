"""One bare git repository, driven by the `git` binary. Everything here is git; nothing here knows the Hub."""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SHA40 = re.compile(r"[0-9a-f]{40}")
SHORT_SHA = re.compile(r"[0-9a-f]{7,39}")
# What may follow refs/heads/ or refs/tags/. Git's own revision syntax (main~1, main^, main@{1}, main:path)
# stays out: the Hub answers "Invalid rev id" to it.
REF_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+/-]*")

AUTHOR_EMAIL = "sample@hub.invalid"


class GitError(RuntimeError):
    """Git refused a command; the message carries its stderr."""


@dataclass(frozen=True)
class TreeEntry:
    """One line of a recursive listing. `size` is the blob's size in bytes, 0 for a directory."""

    path: str
    is_dir: bool
    oid: str
    size: int


@dataclass(frozen=True)
class Commit:
    """`date` is ISO 8601 with milliseconds and Z, as on the Hub; `body` is the message less its title."""

    sha: str
    author: str
    date: str
    title: str
    body: str


def _environment() -> dict[str, str]:
    # Inherited GIT_* would point us at another repository (a test run from a git hook has GIT_DIR set), and
    # the person's own configuration could sign commits or change the SHA format.
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return env | {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "LC_ALL": "C", "TZ": "UTC"}


def _checked_path(path: str) -> str:
    parts = path.split("/")
    if not path or any(part in ("", ".", "..", ".git") for part in parts) or re.search(r'["\x00-\x1f]', path):
        raise ValueError(f"Not a path inside a repository: {path!r}")
    return path


class GitRepo:
    """A bare repository at `path`. Methods raise GitError when git fails."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def init(cls, path: Path) -> "GitRepo":
        path.parent.mkdir(parents=True, exist_ok=True)
        repo = cls(path)
        repo.run("init", "--quiet", "--bare", "--initial-branch=main", "--template=", str(path))
        return repo

    def run(self, *args: str, stdin: bytes = b"") -> bytes:
        done = self._spawn(args, stdin)
        if done.returncode != 0:
            raise GitError(f"git {args[0]} failed: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def _spawn(self, args: Sequence[str], stdin: bytes) -> "subprocess.CompletedProcess[bytes]":
        # core.fsync=none: a sample repository can be built again, waiting for the disk buys nothing.
        command = ["git", "-c", "core.fsync=none", f"--git-dir={self.path}", *args]
        return subprocess.run(command, input=stdin, capture_output=True, env=_environment(), check=False)

    # -- writing -------------------------------------------------------------------------------------------

    def write_commit(
        self,
        files: Mapping[str, bytes | None],
        message: str,
        *,
        parent: str | None,
        author: str,
        epoch_s: int,
    ) -> str:
        """A commit on top of `parent` with `files` put (bytes) or deleted (None). No branch moves.

        Author, date and message come from the caller only, so equal input gives an equal SHA (40 hex).
        """
        # fast-import wants a ref to write to; one process writes any number of files.
        scratch = f"refs/scratch/{os.getpid()}-{os.urandom(8).hex()}"
        text = message.encode()
        who = f"{author} <{AUTHOR_EMAIL}> {epoch_s} +0000".encode()
        stream = [b"feature done\ncommit %s\nmark :1\n" % scratch.encode()]
        stream.append(b"author %s\ncommitter %s\ndata %d\n%s\n" % (who, who, len(text), text))
        if parent is not None:
            stream.append(b"from %s\n" % parent.encode())
        for path, content in sorted(files.items()):
            name = _checked_path(path).encode()
            if content is None:
                stream.append(b"D %s\n" % name)
            else:
                stream.append(b"M 100644 inline %s\ndata %d\n%s\n" % (name, len(content), content))
        stream.append(b"\nget-mark :1\ndone\n")
        try:
            sha = (
                self.run("fast-import", "--quiet", "--date-format=raw", stdin=b"".join(stream))
                .decode()
                .strip()
            )
        finally:
            self.run("update-ref", "-d", scratch)
        if not SHA40.fullmatch(sha):
            raise GitError(f"git fast-import answered {sha!r} instead of a commit")
        return sha

    def set_ref(self, ref: str, sha: str) -> None:
        self.run("update-ref", ref, sha)

    def delete_ref(self, ref: str) -> None:
        self.run("update-ref", "-d", ref)

    # -- reading -------------------------------------------------------------------------------------------

    def commit_of(self, name: str) -> str | None:
        """The commit (40 hex) of a full ref name, or of a SHA of at least 7 hex; None when there is none."""
        done = self._spawn(["rev-parse", "--verify", "--quiet", "--end-of-options", name + "^{commit}"], b"")
        return done.stdout.decode().strip() if done.returncode == 0 else None

    def refs(self, prefix: str) -> dict[str, str]:
        """Full ref name -> commit (annotated tags peeled), for refs under `prefix` ("refs/heads/")."""
        out = self.run("for-each-ref", "--format=%(refname) %(objectname) %(*objectname)", prefix).decode()
        rows = [line.split() for line in out.splitlines()]
        return {row[0]: row[-1] for row in rows}

    def count_commits(self, sha: str) -> int:
        return int(self.run("rev-list", "--count", sha))

    def log(
        self, sha: str, *, skip: int = 0, limit: int | None = None, path: str | None = None
    ) -> list[Commit]:
        args = [
            "log",
            "--format=%H%x00%an%x00%ad%x00%s%x00%b%x1e",
            "--date=format-local:%Y-%m-%dT%H:%M:%S.000Z",
        ]
        args += [f"--skip={skip}"] + ([f"--max-count={limit}"] if limit is not None else []) + [sha]
        args += ["--", f":(literal){path}"] if path is not None else []
        records = self.run(*args).decode(errors="replace").split("\x1e")
        return [Commit(*record.lstrip("\n").split("\x00")) for record in records if record.strip()]

    def tree(self, sha: str) -> list[TreeEntry]:
        """Every file and directory of a commit, by path."""
        entries = []
        for record in self.run("ls-tree", "-r", "-t", "-l", "-z", sha).decode().split("\x00")[:-1]:
            facts, path = record.split("\t", 1)
            _mode, kind, oid, size = facts.split()
            entries.append(TreeEntry(path, kind == "tree", oid, int(size) if size != "-" else 0))
        return entries

    def blobs(self, oids: Sequence[str]) -> dict[str, bytes]:
        """Contents by object id, read by one process."""
        if not oids:
            return {}
        out = self.run("cat-file", "--batch", stdin="".join(f"{oid}\n" for oid in oids).encode())
        contents, at = {}, 0
        while at < len(out):
            end = out.index(b"\n", at)
            oid, _kind, size = out[at:end].decode().split()
            contents[oid] = out[end + 1 : end + 1 + int(size)]
            at = end + 2 + int(size)
        return contents
