"""The sample Hub's disk: a bare git repository for each model, LFS blobs by sha256, and what git cannot hold.

Layout of the root:
  models/{org}/{name}.git    bare repository; large files are LFS pointers, as on the Hub
  models/{org}/{name}.json   RepoMeta: what the Hub keeps in its database
  lfs/{aa}/{sha256}          contents of the LFS files of all models
"""

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from tests.sample_hub.git import REF_NAME, SHA40, SHORT_SHA, Commit, GitRepo

LFS_FROM_BYTES = 10 * 1024
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize (\d+)\n", re.ASCII
)
_POINTER_MAX_BYTES = 200
_MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")

# All times are fixed: equal content must give equal SHAs on every machine. Commits are an hour apart.
FIRST_COMMIT_EPOCH_S = 1_788_249_600  # 2026-09-01T08:00:00Z
CREATED_AT = "2026-09-01T08:00:00.000Z"
INITIAL_FILES: dict[str, bytes] = {
    ".gitattributes": b"*.bin filter=lfs diff=lfs merge=lfs -text\n"
    b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
}


class RepoNotFound(LookupError):
    """No such model."""


class RevisionNotFound(LookupError):
    """The model has no such branch, tag, pull request or commit."""


class EntryNotFound(LookupError):
    """The commit has no such file."""


@dataclass(frozen=True)
class RepoMeta:
    """What the real Hub keeps outside git.

    `internal_id`: 24 hex, `_id` in the API; a name created anew may have another. `gated`: False, "auto" or
    "manual". `security`: path -> "safe", "unsafe", "queued"...; files that are not named are safe.
    """

    internal_id: str
    created_at: str = CREATED_AT
    private: bool = False
    gated: bool | str = False
    disabled: bool = False
    downloads: int = 0
    likes: int = 0
    security: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Lfs:
    """`size` and `pointer_size` in bytes."""

    sha256: str
    size: int
    pointer_size: int


@dataclass(frozen=True)
class Entry:
    """A file or directory of a commit. `oid`: git's object id (LFS: of the pointer), `size`: real bytes."""

    path: str
    is_dir: bool
    oid: str
    size: int
    lfs: Lfs | None = None


def is_lfs(path: str, content: bytes) -> bool:
    """safetensors always; other files from 10 KiB when they are not UTF-8 text."""
    if path.endswith(".safetensors"):
        return True
    if len(content) < LFS_FROM_BYTES:
        return False
    try:
        return "\x00" in content.decode()
    except UnicodeDecodeError:
        return True


class SampleHubStore:
    """Reads and writes the root. Several processes may use it, if only one at a time writes to a model.

    Nothing about branches is cached: moving one shows in a running server at once.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self._trees: dict[tuple[str, str], tuple[Entry, ...]] = {}

    # -- models --------------------------------------------------------------------------------------------

    def create_repo(self, model_id: str, *, internal_id: str | None = None) -> str:
        """Creates the model with an "initial commit" (.gitattributes) on main, as the Hub does, or keeps it.

        Returns the commit of main. Raises ValueError when `model_id` is not "org/name".
        """
        if not _MODEL_ID.fullmatch(model_id):
            raise ValueError(f"A model id looks like org/name, not {model_id!r}")
        if not self._meta_path(model_id).exists():
            shutil.rmtree(self._git_path(model_id), ignore_errors=True)  # left by an interrupted create
            GitRepo.init(self._git_path(model_id))
            self.commit(model_id, INITIAL_FILES, "initial commit")
            default_id = hashlib.sha256(f"sample-hub:{model_id}".encode()).hexdigest()[:24]
            self._write_meta(model_id, RepoMeta(internal_id or default_id))
        return self.resolve(model_id, "main")

    def delete_repo(self, model_id: str) -> None:
        """Removes the model; creating the name again with another `internal_id` is the name taken over."""
        self._repo(model_id)
        self._meta_path(model_id).unlink()
        shutil.rmtree(self._git_path(model_id))
        self._trees = {key: tree for key, tree in self._trees.items() if key[0] != model_id}

    def model_ids(self) -> list[str]:
        return sorted(f"{path.parent.name}/{path.stem}" for path in self.root.glob("models/*/*.json"))

    def meta(self, model_id: str) -> RepoMeta:
        self._repo(model_id)
        return RepoMeta(**json.loads(self._meta_path(model_id).read_text()))

    def set_meta(self, model_id: str, **changes: object) -> None:
        """Changes fields of RepoMeta: `store.set_meta(model_id, gated="manual")`."""
        self._write_meta(model_id, replace(self.meta(model_id), **changes))  # type: ignore[arg-type]

    def _write_meta(self, model_id: str, meta: RepoMeta) -> None:
        # Renamed into place: a server that is reading meanwhile sees the old or the new, never half.
        fresh = self._meta_path(model_id).with_suffix(".json.new")
        fresh.write_text(json.dumps(asdict(meta), indent=1, sort_keys=True))
        fresh.replace(self._meta_path(model_id))

    def _git_path(self, model_id: str) -> Path:
        return self.root / "models" / f"{model_id}.git"

    def _meta_path(self, model_id: str) -> Path:
        return self.root / "models" / f"{model_id}.json"

    def _repo(self, model_id: str) -> GitRepo:
        if not _MODEL_ID.fullmatch(model_id) or not self._git_path(model_id).is_dir():
            raise RepoNotFound(model_id)
        return GitRepo(self._git_path(model_id))

    # -- writing -------------------------------------------------------------------------------------------

    def commit(
        self,
        model_id: str,
        files: Mapping[str, bytes | None],
        message: str,
        branch: str | None = "main",
        parent: str | None = None,
    ) -> str:
        """Puts (bytes) or deletes (None) files on top of `parent`, by default the tip of `branch`.

        Moves `branch` to the new commit; branch=None moves nothing. Files that `is_lfs` become pointers.
        Returns the commit (40 hex), the same for the same files, message and parent.
        """
        repo = self._repo(model_id)
        if parent is None and branch is not None:
            parent = repo.commit_of(f"refs/heads/{branch}")
        age = repo.count_commits(parent) if parent else 0
        in_git = {
            path: self._write_lfs(content) if content is not None and is_lfs(path, content) else content
            for path, content in files.items()
        }
        author, epoch_s = model_id.split("/")[0], FIRST_COMMIT_EPOCH_S + 3600 * age
        sha = repo.write_commit(in_git, message, parent=parent, author=author, epoch_s=epoch_s)
        if branch is not None:
            self.set_branch(model_id, branch, sha)
        return sha

    def set_branch(self, model_id: str, name: str, sha: str) -> None:
        """Creates or moves a branch, forward or not."""
        self._set_ref(model_id, "heads", name, sha)

    def tag(self, model_id: str, name: str, sha: str) -> None:
        """Creates or moves a tag."""
        self._set_ref(model_id, "tags", name, sha)

    def pull_request(self, model_id: str, number: int, sha: str) -> None:
        """Points refs/pr/{number} at a commit."""
        self._set_ref(model_id, "pr", str(number), sha)

    def remember(self, model_id: str, name: str, sha: str) -> None:
        """Keeps a commit under a private name that the Hub's API does not show (`recall` reads it back)."""
        self._set_ref(model_id, "sample", name, sha)

    def recall(self, model_id: str, name: str) -> str | None:
        return self._repo(model_id).commit_of(f"refs/sample/{name}")

    def _set_ref(self, model_id: str, kind: str, name: str, sha: str) -> None:
        if not REF_NAME.fullmatch(name) or not SHA40.fullmatch(sha):
            raise ValueError(f"Not a ref name and a 40-hex commit: {name!r}, {sha!r}")
        self._repo(model_id).set_ref(f"refs/{kind}/{name}", sha)

    def _write_lfs(self, content: bytes) -> bytes:
        sha256 = hashlib.sha256(content).hexdigest()
        path = self.lfs_path(sha256)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_suffix(".new")
            fresh.write_bytes(content)
            fresh.replace(path)
        return (
            f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(content)}\n".encode()
        )

    # -- reading -------------------------------------------------------------------------------------------

    def resolve(self, model_id: str, revision: str) -> str:
        """The commit (40 hex) of a branch, a tag, refs/pr/N, a commit, or the first 7 or more hex of one.

        Like the Hub, answers for any commit of the repository, also one that no branch holds any more.
        Raises RepoNotFound, RevisionNotFound.
        """
        repo = self._repo(model_id)
        candidates = []
        if SHA40.fullmatch(revision) or re.fullmatch(r"refs/pr/\d+", revision):
            candidates = [revision]
        elif REF_NAME.fullmatch(revision) and ".." not in revision:
            candidates = [f"refs/heads/{revision}", f"refs/tags/{revision}"]
            candidates += [revision] if SHORT_SHA.fullmatch(revision) else []
        for candidate in candidates:
            if sha := repo.commit_of(candidate):
                return sha
        raise RevisionNotFound(revision)

    def refs(self, model_id: str, kind: str) -> dict[str, str]:
        """Name -> commit of all "heads", "tags" or "pr"."""
        prefix = f"refs/{kind}/"
        return {ref.removeprefix(prefix): sha for ref, sha in self._repo(model_id).refs(prefix).items()}

    def log(
        self, model_id: str, sha: str, *, skip: int = 0, limit: int | None = None, path: str | None = None
    ) -> list[Commit]:
        """Commits, newest first; with `path`, those that touched it."""
        return self._repo(model_id).log(sha, skip=skip, limit=limit, path=path)

    def count_commits(self, model_id: str, sha: str) -> int:
        return self._repo(model_id).count_commits(sha)

    def tree(self, model_id: str, sha: str) -> tuple[Entry, ...]:
        """Every file and directory of a commit (40 hex), by path."""
        repo = self._repo(model_id)
        if (model_id, sha) not in self._trees:
            raw = repo.tree(sha)
            small = [entry.oid for entry in raw if not entry.is_dir and entry.size <= _POINTER_MAX_BYTES]
            pointers = {oid: lfs for oid, blob in repo.blobs(small).items() if (lfs := _parse_pointer(blob))}
            self._trees[model_id, sha] = tuple(
                Entry(e.path, e.is_dir, e.oid, lfs.size if (lfs := pointers.get(e.oid)) else e.size, lfs)
                for e in raw
            )
        return self._trees[model_id, sha]

    def entry(self, model_id: str, sha: str, path: str) -> Entry:
        """The file at `path`. Raises EntryNotFound, also for a directory."""
        for entry in self.tree(model_id, sha):
            if entry.path == path and not entry.is_dir:
                return entry
        raise EntryNotFound(path)

    def read_file(self, model_id: str, sha: str, path: str) -> bytes:
        """The file's real content: of an LFS file, the blob that its pointer names."""
        entry = self.entry(model_id, sha, path)
        if entry.lfs is not None:
            return self.lfs_path(entry.lfs.sha256).read_bytes()
        return self._repo(model_id).blobs([entry.oid])[entry.oid]

    def lfs_path(self, sha256: str) -> Path:
        return self.root / "lfs" / sha256[:2] / sha256


def _parse_pointer(blob: bytes) -> Lfs | None:
    match = _POINTER.fullmatch(blob)
    return Lfs(match[1].decode(), int(match[2]), len(blob)) if match else None
