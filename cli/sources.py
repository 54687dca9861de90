"""Python sources, read and never run: which loads name a Hub repository without an approved, pinned commit?

Only what stands in the source is judged. A name counts as its text when it is bound exactly once in the file, at module
level, to text; anything else that is computed is a note. The result does not depend on what lies on the disk beside it.
"""

from __future__ import annotations

import ast
import io
import os
import re
import tokenize
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cli.document import COMMIT, Lock
from cli.findings import CannotCheck, Finding, Severity

MAX_BYTES = 5 * 1024 * 1024
SKIPPED = {"__pycache__", "node_modules", "build", "dist", "site-packages", "venv"}
IGNORE = re.compile(r"#\s*assay:\s*ignore(?:\[(?P<rules>[\w\s,-]*)\])?(?P<reason>.*)", re.IGNORECASE)
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[\w.-]+)?")

# load_dataset's builders for local files; the name is no repository.
FILE_BUILDERS = {"arrow", "audiofolder", "csv", "imagefolder", "json", "pandas", "parquet", "sql", "text", "videofolder",
                 "webdataset", "xml", "pdffolder"}  # fmt: skip


@dataclass(frozen=True)
class Loader:
    """A call that reads from the Hub: where its repository stands (keywords in order, and position), and of what kind."""

    keywords: tuple[str, ...]
    position: int = 0
    also: tuple[str, ...] = ()  # keywords that may name further repositories, loaded at the same revision
    dataset: bool = False
    needs_import: str = ""  # a name too common to be known by itself: only when it comes from this package


FROM_PRETRAINED = Loader(
    ("pretrained_model_name_or_path", "model_id", "repo_id", "model_name_or_path", "model_name"),
)
_FILES = Loader(("repo_id",))
_DATA = Loader(("path",), dataset=True)
LOADERS: dict[str, Loader] = {
    "from_pretrained": FROM_PRETRAINED,
    "pipeline": Loader(
        ("model",),
        1,
        ("tokenizer", "config", "feature_extractor", "image_processor", "video_processor", "processor"),
        needs_import="transformers",
    ),
    "snapshot_download": _FILES,
    "hf_hub_download": _FILES,
    "hf_hub_url": _FILES,
    "load_dataset": _DATA,
    "load_dataset_builder": _DATA,
    "SentenceTransformer": Loader(("model_name_or_path",)),
    "CrossEncoder": Loader(("model_name_or_path", "model_name")),
    "cached_file": Loader(("path_or_repo_id",), needs_import="transformers"),
}


def python_files(paths: Iterable[Path]) -> list[Path]:
    """Files as named (whatever their suffix), and every .py below named folders; hidden folders and environments are left out.

    Raises CannotCheck for a path that does not exist.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            for base, folders, names in os.walk(path):
                folders[:] = sorted(f for f in folders if f not in SKIPPED and not f.startswith("."))
                found |= {Path(base) / name: None for name in sorted(names) if name.endswith(".py")}
        elif path.is_file():
            found[path] = None
        else:
            raise CannotCheck(f"{path} does not exist.")
    return list(found)


def check_file(path: Path, lock: Lock | None) -> list[Finding]:
    """Raises CannotCheck when the file cannot be read or is not Python."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise CannotCheck(f"{path} is larger than {MAX_BYTES // 1024 // 1024} MiB.")
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        text = io.TextIOWrapper(io.BytesIO(content), encoding, newline=None).read()
    except (OSError, SyntaxError, UnicodeDecodeError, LookupError) as error:
        raise CannotCheck(f"{path} cannot be read: {error}.") from error
    return check_text(text, str(path), lock)


def check_text(text: str, path: str, lock: Lock | None) -> list[Finding]:
    """Findings of one source text, by line. Raises CannotCheck when it is not Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other people's odd escapes
            tree = ast.parse(text, filename=path)
        comments = _comments(text)
        visitor = _Visitor(path, tree, lock)
        visitor.visit(tree)
    except SyntaxError as error:
        raise CannotCheck(
            f"{path}:{error.lineno or 0} is not Python that can be read: {error.msg}."
        ) from error
    except (ValueError, RecursionError, MemoryError, tokenize.TokenError) as error:
        raise CannotCheck(
            f"{path} is not Python that can be read: {error or type(error).__name__}."
        ) from error
    findings = [_answered(finding, end, comments) for finding, end in visitor.found]
    return sorted(findings, key=lambda f: (f.line, f.column, f.rule))


@dataclass(frozen=True)
class _Comment:
    rules: frozenset[str]
    reason: str


def _comments(text: str) -> dict[int, _Comment]:
    """Ignore comments by line; text inside strings is no comment."""
    found = {}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and (match := IGNORE.search(token.string)):
            rules = frozenset(rule.strip() for rule in (match["rules"] or "").split(",") if rule.strip())
            found[token.start[0]] = _Comment(rules, match["reason"].strip(" \t:-–—()"))
    return found


def _answered(finding: Finding, end: int, comments: dict[int, _Comment]) -> Finding:
    """The finding as a note when a comment on one of the call's lines answers for it, with a reason."""
    if finding.severity is Severity.NOTE:
        return finding
    for line in range(finding.line, end + 1):
        comment = comments.get(line)
        if comment is None or (comment.rules and finding.rule not in comment.rules):
            continue
        if not comment.reason:
            why = " The ignore comment gives no reason, so it does not count."
            return replace(finding, message=finding.message + why)
        return replace(
            finding, rule="ignored", message=f"[{finding.rule}] {finding.message}", reason=comment.reason
        )
    return finding


_COMPUTED = object()  # marks a value that cannot be read


class _Visitor(ast.NodeVisitor):
    def __init__(self, path: str, tree: ast.Module, lock: Lock | None) -> None:
        self.path, self.lock = path, lock
        self.found: list[tuple[Finding, int]] = []
        self.aliases: dict[str, str] = {}  # local name -> dotted name of what was imported
        self.stars: set[str] = set()
        self.constants = _constants(tree)
        self.called: set[int] = set()
        for node in ast.walk(tree):
            self._note_import(node)

    def _note_import(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for name in node.names:
                self.aliases[name.asname or name.name.split(".")[0]] = (
                    name.name if name.asname else name.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            for name in node.names:
                if name.name == "*":
                    self.stars.add((node.module or "").split(".")[0])
                else:
                    module = "." * node.level + (node.module or "")
                    self.aliases[name.asname or name.name] = f"{module}.{name.name}"

    # --- what is called ---

    def visit_Call(self, node: ast.Call) -> None:
        self.called.add(id(node.func))
        if (loader := self._loader(node.func)) is not None:
            self._check(node, *loader)
        elif isinstance(node.func, ast.Name) and node.func.id == "getattr" and len(node.args) > 1:
            name = self._value(node.args[1])
            if isinstance(name, str) and name in LOADERS:
                self._say(
                    "unresolved", node, f"{name} is fetched with getattr; how it is called cannot be read."
                )
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._as_value(node, node.attr)
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._as_value(node, self.aliases.get(node.id, node.id).rsplit(".", 1)[-1])

    def _as_value(self, node: ast.Attribute | ast.Name, name: str) -> None:
        """A loader handed on instead of called (functools.partial, map, another name): its arguments are elsewhere."""
        if name in LOADERS and not name[0].isupper() and id(node) not in self.called and self._loader(node):
            self._say("unresolved", node, f"{name} is used as a value; how it is called cannot be read.")

    def _loader(self, function: ast.expr) -> tuple[str, Loader] | None:
        if isinstance(function, ast.Name):
            dotted = self.aliases.get(function.id, "")
            name = dotted.rsplit(".", 1)[-1] or function.id
            package = dotted.split(".")[0]
            is_star = not dotted and bool(self.stars)
        elif isinstance(function, ast.Attribute):
            name, is_star = function.attr, False
            root: ast.expr = function
            while isinstance(root, ast.Attribute):
                root = root.value
            package = self.aliases.get(root.id, "").split(".")[0] if isinstance(root, ast.Name) else ""
        else:
            return None
        loader = LOADERS.get(name)
        if loader is None:
            return None
        needed = loader.needs_import
        if needed and package != needed and not (is_star and needed in self.stars):
            return None
        return name, loader

    # --- one call ---

    def _check(self, node: ast.Call, name: str, loader: Loader) -> None:
        arguments, is_open = self._keywords(node)
        references = self._references(node, name, loader, arguments, is_open)
        if references is None:
            return
        revision = arguments.get("revision")
        repo_type = self._value(arguments["repo_type"]) if "repo_type" in arguments else None
        is_model = not loader.dataset and repo_type in (None, "model")
        for reference in references:
            self._check_code(node, name, arguments, reference if is_model else None)
            if not isinstance(reference, str):
                self._say(
                    "unresolved", node, f"{name}: the repository is computed, so it cannot be read here."
                )
            elif _is_local(reference) or (loader.dataset and reference in FILE_BUILDERS):
                self._say("local-path", node, f"{name} reads {reference!r}, which is local.")
            else:
                self._check_revision(node, name, reference, revision, is_open, is_model)

    def _keywords(self, node: ast.Call) -> tuple[dict[str, ast.expr], bool]:
        """Keyword arguments by name; True when a `**` brings more that cannot be read."""
        found: dict[str, ast.expr] = {}
        is_open = False
        for keyword in node.keywords:
            if keyword.arg is not None:
                found[keyword.arg] = keyword.value
            elif isinstance(keyword.value, ast.Dict):
                for key, value in zip(keyword.value.keys, keyword.value.values, strict=True):
                    text = self._value(key) if key is not None else _COMPUTED
                    if isinstance(text, str):
                        found[text] = value
                    else:
                        is_open = True
            else:
                is_open = True
        return found, is_open

    def _references(
        self, node: ast.Call, name: str, loader: Loader, arguments: dict[str, ast.expr], is_open: bool
    ) -> list[object] | None:
        """The repositories a call names (text, or something else when computed); None after saying why there is none."""
        given = next((arguments[key] for key in loader.keywords if key in arguments), None)
        starred = any(isinstance(argument, ast.Starred) for argument in node.args)
        position = loader.position
        if given is None and len(node.args) > position and not starred:
            given = node.args[position]
            # PeftModel.from_pretrained(model, "org/adapter"): the first is an object, the second names the repository.
            if (
                loader is FROM_PRETRAINED
                and len(node.args) > 1
                and isinstance(self._value(node.args[1]), str)
            ):
                first = self._value(given)
                if not isinstance(first, str):
                    given = node.args[1]
        further = [self._value(arguments[key]) for key in loader.also if key in arguments]
        texts = [value for value in further if isinstance(value, str)]
        if given is not None and not (isinstance(given, ast.Constant) and given.value is None):
            return [self._value(given), *texts]
        if starred or is_open:
            self._say(
                "unresolved", node, f"{name}: the arguments come from * or **, so they cannot be read here."
            )
        elif name == "pipeline":
            self._say(
                "unpinned", node, "pipeline names no model: the library chooses one, and it is not approved."
            )
        elif texts:
            return list(texts)
        elif node.args or node.keywords:
            self._say("unresolved", node, f"{name}: no repository can be read here.")
        return None

    def _check_revision(
        self,
        node: ast.Call,
        name: str,
        reference: str,
        revision: ast.expr | None,
        is_open: bool,
        is_model: bool,
    ) -> None:
        value = None if revision is None else self._value(revision)
        locked = self.lock.models.get(reference) if self.lock and is_model else None
        cure = f' Write revision="{locked.revision}".' if locked else ""
        if revision is None and is_open:
            self._say(
                "unresolved",
                node,
                f"{name}({reference!r}): the revision may come from **, so it cannot be read.",
            )
        elif value is None:
            sentence = f"{name}({reference!r}) has no revision: it loads whatever main is that day.{cure}"
            self._say("unpinned", node, sentence)
        elif not isinstance(value, str):
            self._say(
                "unresolved",
                node,
                f"{name}({reference!r}): the revision is computed, so it cannot be read here.",
            )
        elif not COMMIT.fullmatch(value):
            kind = (
                "not a full commit SHA in lower case"
                if re.fullmatch(r"[0-9a-fA-F]{6,64}", value)
                else "a name"
            )
            sentence = f"{name}({reference!r}): the revision {value[:80]!r} is {kind}, so it can move.{cure}"
            self._say("mutable-revision", node, sentence)
        elif self.lock and is_model:
            if locked is None:
                sentence = f"{name}({reference!r}): the lock does not hold this model. Ask for its approval."
                self._say("not-in-lock", node, sentence)
            elif locked.revision != value:
                sentence = f"{name}({reference!r}): {value[:12]} is not the locked commit.{cure}"
                self._say("not-in-lock", node, sentence)

    def _check_code(
        self, node: ast.Call, name: str, arguments: dict[str, ast.expr], reference: object
    ) -> None:
        flag = arguments.get("trust_remote_code")
        if flag is None:
            return
        value = self._value(flag)
        if value is _COMPUTED:
            self._say(
                "unresolved", node, f"{name}: trust_remote_code is computed, so it cannot be read here."
            )
        elif value:
            locked = self.lock.models.get(reference) if self.lock and isinstance(reference, str) else None
            if locked is not None and locked.remote_code_allowed:
                return
            if locked is not None:
                why = f"the verdict on the code of {locked.short} is {locked.remote_code_verdict!r}"
            elif self.lock:
                why = "the lock holds no such model"
            else:
                why = "no lock is given that says whose code was audited"
            self._say(
                "remote-code",
                node,
                f"{name} runs code of the repository (trust_remote_code=True), and {why}.",
            )

    def _value(self, node: ast.expr) -> object:
        """Text, None, a number or a flag as written; _COMPUTED when it is computed."""
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return self.constants.get(node.id, _COMPUTED)
        if isinstance(node, ast.JoinedStr):
            parts = [self._value(p.value if isinstance(p, ast.FormattedValue) else p) for p in node.values]
            plain = all(not isinstance(p, ast.FormattedValue) or (p.conversion == -1 and p.format_spec is None)
                        for p in node.values)  # fmt: skip
            return "".join(map(str, parts)) if plain and all(isinstance(p, str) for p in parts) else _COMPUTED
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = self._value(node.left), self._value(node.right)
            return left + right if isinstance(left, str) and isinstance(right, str) else _COMPUTED
        return _COMPUTED

    def _say(self, rule: str, node: ast.expr, message: str) -> None:
        finding = Finding(rule, message, self.path, node.lineno, node.col_offset + 1)
        self.found.append((finding, node.end_lineno or node.lineno))


def _is_local(reference: str) -> bool:
    """./x, ../x, /x, ~/x, C:\\x, a URL, or anything that cannot be a Hub id. `org/name` is taken for the Hub's."""
    return reference.startswith((".", "/", "~")) or not HUB_ID.fullmatch(reference)


def _constants(tree: ast.Module) -> dict[str, object]:
    """Names that are bound once in the whole file, at module level, to a literal: they mean that literal."""
    count: dict[str, int] = {}
    for name in _bound(tree):
        count[name] = count.get(name, 0) + 1
    found: dict[str, object] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target, value = statement.targets[0], statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            target, value = statement.target, statement.value
        else:
            continue
        if isinstance(target, ast.Name) and count.get(target.id) == 1 and isinstance(value, ast.Constant):
            found[target.id] = value.value
    return found


def _bound(tree: ast.Module) -> Iterator[str]:
    """Every binding of every name, whatever the scope: names, arguments, imports, functions, classes, patterns."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).split(".")[0]
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            yield node.name
        elif isinstance(node, ast.Global | ast.Nonlocal):
            yield from node.names
