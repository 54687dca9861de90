"""The remote-code manifest: every Python file with its digest, whether a loader would import it, and which calls to read.

Python is parsed, never imported. The list of calls helps a person to read; an empty list proves nothing.
"""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass
from typing import Any

from registry.inspection.findings import Inspection
from registry.inspection.source import SourceFile

MAX_PYTHON_BYTES = 2 * 1024 * 1024
ENTRY_NAMES = ("handler.py", "pipeline.py", "custom_generate/generate.py")

# dotted name (or its beginning) -> why a reader should look
_CALLS: tuple[tuple[str, str], ...] = (
    ("exec", "runs text as code"), ("eval", "runs text as code"), ("compile", "turns text into code"),
    ("__import__", "imports by name"), ("breakpoint", "opens a debugger"), ("input", "reads from the terminal"),
    ("globals", "reaches names dynamically"), ("builtins", "reaches built-in functions by name"),
    ("os.system", "starts a program"), ("os.popen", "starts a program"), ("os.exec", "starts a program"),
    ("os.spawn", "starts a program"), ("os.posix_spawn", "starts a program"), ("os.fork", "starts a process"),
    ("os.kill", "ends processes"), ("os.environ", "reads or changes the environment, where secrets are"),
    ("os.getenv", "reads the environment, where secrets are"), ("os.putenv", "changes the environment"),
    ("os.remove", "deletes files"), ("os.unlink", "deletes files"), ("os.rmdir", "deletes files"),
    ("os.rename", "moves files"), ("os.chmod", "changes permissions"), ("shutil", "copies or deletes files"),
    ("subprocess", "starts a program"), ("multiprocessing", "starts processes"), ("pty", "starts a program"),
    ("socket", "opens the network"), ("ssl", "opens the network"), ("http", "opens the network"),
    ("urllib.request", "opens the network"), ("urllib3", "opens the network"), ("requests", "opens the network"),
    ("httpx", "opens the network"), ("aiohttp", "opens the network"), ("ftplib", "opens the network"),
    ("smtplib", "opens the network"), ("telnetlib", "opens the network"), ("paramiko", "opens the network"),
    ("websocket", "opens the network"), ("webbrowser", "opens the network"), ("xmlrpc", "opens the network"),
    ("huggingface_hub", "fetches from the Hub"), ("ctypes", "calls machine code"), ("cffi", "calls machine code"),
    ("mmap", "maps memory"), ("pickle", "unpickles"), ("cPickle", "unpickles"), ("_pickle", "unpickles"),
    ("dill", "unpickles"), ("cloudpickle", "unpickles"), ("shelve", "unpickles"), ("marshal", "loads code objects"),
    ("joblib", "unpickles"), ("torch.load", "unpickles"), ("torch.hub", "fetches and runs code"),
    ("torch.utils.cpp_extension", "compiles and runs machine code"), ("torch.ops.load_library", "loads machine code"),
    ("torch.classes.load_library", "loads machine code"), ("numpy.load", "may unpickle"),
    ("pandas.read_pickle", "unpickles"), ("yaml.load", "may build any object"), ("yaml.unsafe_load", "builds any object"),
    ("importlib", "imports by name"), ("imp", "imports by name"), ("runpy", "runs files as programs"),
    ("pkgutil", "imports by name"), ("zipimport", "imports from archives"), ("code", "runs text as code"),
    ("codeop", "runs text as code"), ("pip", "installs packages"), ("setuptools", "installs packages"),
    ("atexit", "runs later, when nobody looks"), ("signal", "changes how the process ends"),
    ("sys.settrace", "watches every call"), ("sys.modules", "replaces modules"), ("sys.path", "changes where imports look"),
    ("kernels", "fetches machine code"), ("triton.compile", "compiles machine code"), ("base64", "may hide text"),
    ("threading", "runs beside the caller"), ("tempfile", "writes files"),
)  # fmt: skip
_ATTRIBUTES = {
    "write_text": "writes a file", "write_bytes": "writes a file", "unlink": "deletes a file",
    "__subclasses__": "reaches every class of the process", "__globals__": "reaches names dynamically",
    "__builtins__": "reaches built-in functions by name", "__code__": "changes code", "__bases__": "climbs the class tree",
    "load_library": "loads machine code", "allow_pickle": "may unpickle", "tofile": "writes a file",
}  # fmt: skip


@dataclass(frozen=True)
class Flag:
    line: int
    call: str
    why: str

    def as_dict(self) -> dict[str, Any]:
        return {"line": self.line, "call": self.call, "why": self.why}


def inspect_python(files: list[SourceFile], entries: list[str]) -> tuple[list[dict[str, Any]], Inspection]:
    """(manifest, findings). `entries` are the modules that a configuration names, as paths of this repository.

    manifest: [{"path", "sha256", "reachable", "flagged": [{"line", "call", "why"}]}], sorted by path.
    """
    result = Inspection()
    python = {file.path: file for file in files if file.name.endswith((".py", ".pyi", ".pyx"))}
    trees: dict[str, ast.Module | None] = {}
    for path, file in sorted(python.items()):
        trees[path] = _parse(file, result)
    wanted = {path for path in python if path in ENTRY_NAMES or path.endswith("/generate.py")} | {
        entry for entry in entries if entry in python
    }
    for entry in sorted(set(entries) - set(python)):
        result.warn(
            entry,
            "The configuration names this code file and the repository does not have it.",
            "Ask the author.",
        )
    reachable = _reachable(wanted, trees)
    manifest = []
    for path, file in sorted(python.items()):
        tree = trees[path]
        flagged = _flags(tree) if tree else []
        manifest.append(
            {
                "path": path,
                "sha256": file.sha256,
                "reachable": path in reachable,
                "flagged": [flag.as_dict() for flag in flagged[:200]],
            }
        )
        how = "a loader would import it" if path in reachable else "no configuration names it"
        result.warn(
            path,
            f"The repository carries Python code ({how}).",
            "A security auditor must read it before approval.",
        )
        for flag in flagged[:50]:
            result.warn(path, f"`{flag.call}` {flag.why}.", "Read this line.", line=flag.line)
    return manifest, result


def _parse(file: SourceFile, result: Inspection) -> ast.Module | None:
    if file.size > MAX_PYTHON_BYTES:
        result.fail(file.path, "This Python file is too large to be read.", "Nobody can audit it.")
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its invalid escapes are not ours to report
            return ast.parse(file.read(MAX_PYTHON_BYTES))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        result.fail(
            file.path,
            f"This Python file cannot be parsed ({type(error).__name__}), so its calls are not known.",
            "An auditor must read it line by line; a file that no parser reads often hides something.",
        )
        return None


def _reachable(wanted: set[str], trees: dict[str, ast.Module | None]) -> set[str]:
    """Everything that the wanted modules import, statically, from this repository."""
    seen: set[str] = set()
    queue = sorted(wanted)
    while queue:
        path = queue.pop()
        if path in seen:
            continue
        seen.add(path)
        tree = trees.get(path)
        if tree is None:
            continue
        for candidate in _imported_paths(path, tree):
            if candidate in trees and candidate not in seen:
                queue.append(candidate)
    return seen


def _imported_paths(path: str, tree: ast.Module) -> set[str]:
    folder = path[: path.rfind("/") + 1]
    modules: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            base = folder
            for _ in range(node.level - 1):
                base = base.rstrip("/").rpartition("/")[0]
                base = f"{base}/" if base else ""
            name = (node.module or "").replace(".", "/")
            starts = [base] if node.level else [folder, ""]
            for start in starts:
                modules.add(start + name)
                modules |= {
                    f"{start}{name}/{alias.name}" if name else start + alias.name for alias in node.names
                }
        elif isinstance(node, ast.Import):
            for alias in node.names:
                modules |= {folder + alias.name.replace(".", "/"), alias.name.replace(".", "/")}
    return {f"{module}{ending}" for module in modules if module for ending in (".py", "/__init__.py")}


def _flags(tree: ast.Module) -> list[Flag]:
    aliases = _aliases(tree)
    found: dict[tuple[int, str], Flag] = {}

    def add(node: ast.AST, call: str, why: str) -> None:
        line = getattr(node, "lineno", 0)
        found.setdefault((line, call), Flag(line, call[:120], why))

    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                _match(alias.name, lambda c, w, n=node: add(n, f"import {c}", w))
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                _match(f"{node.module}.{alias.name}", lambda c, w, n=node: add(n, f"import {c}", w))
        elif isinstance(node, ast.Call):
            _call(node, aliases, add)
        elif isinstance(node, ast.Attribute):
            name = _dotted(node, aliases)
            if name in ("os.environ", "sys.modules", "sys.path"):
                _match(name, lambda c, w, n=node: add(n, c, w))
            elif node.attr in _ATTRIBUTES:
                add(node, node.attr, _ATTRIBUTES[node.attr])
        elif isinstance(node, ast.Name) and node.id in ("__builtins__", "__loader__"):
            add(node, node.id, "reaches built-in functions by name")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _HIDDEN.search(node.value):
            add(node, "long encoded text", "may hide code")
    return sorted(found.values(), key=lambda flag: (flag.line, flag.call))


_HIDDEN = re.compile(r"[A-Za-z0-9+/=]{400,}|(?:\\x[0-9a-fA-F]{2}){100,}")


def _aliases(tree: ast.Module) -> dict[str, str]:
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    for node in ast.walk(tree):  # run = os.system; run("...")
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name | ast.Attribute):
            target = _dotted(node.value, names)
            for to in node.targets:
                if target and isinstance(to, ast.Name) and to.id != target:
                    names.setdefault(to.id, target)
    return names


def _dotted(node: ast.AST, aliases: dict[str, str]) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    parts.append(aliases.get(node.id, node.id))
    return ".".join(reversed(parts))


def _match(name: str, say: Any) -> None:
    for listed, why in _CALLS:
        # os.exec stands for os.execv and its sisters, all others for themselves and what is below them
        if (
            name == listed
            or name.startswith(f"{listed}.")
            or (listed in ("os.exec", "os.spawn", "os.posix_spawn") and name.startswith(listed))
        ):
            say(name, why)
            return


def _call(node: ast.Call, aliases: dict[str, str], add: Any) -> None:
    name = _dotted(node.func, aliases)
    if name:
        _match(name, lambda c, w: add(node, c, w))
    last = name.rsplit(".", 1)[-1] or (node.func.attr if isinstance(node.func, ast.Attribute) else "")
    keywords = {word.arg: word.value for word in node.keywords if word.arg}
    if name in ("getattr", "setattr", "vars") and node.args:
        constant = (
            len(node.args) > 1
            and isinstance(node.args[1], ast.Constant)
            and isinstance(node.args[1].value, str)
        )
        if not constant or _dotted(node.args[0], aliases) in ("os", "sys", "builtins", "torch", "importlib"):
            add(node, name, "reaches names dynamically")
    if name in ("open", "io.open", "codecs.open", "os.open", "os.fdopen"):
        mode = keywords.get("mode") or (node.args[1] if len(node.args) > 1 else None)
        if mode is not None and not (
            isinstance(mode, ast.Constant)
            and isinstance(mode.value, str)
            and not set(mode.value) & set("wax+")
        ):
            add(node, name, "may write a file")
    if last in (
        "from_pretrained",
        "from_config",
        "load_dataset",
        "pipeline",
        "snapshot_download",
        "hf_hub_download",
    ):
        trusted = keywords.get("trust_remote_code")
        if trusted is not None and not (isinstance(trusted, ast.Constant) and trusted.value is False):
            add(node, f"{last}(trust_remote_code)", "runs code of another repository")
        elif last in ("snapshot_download", "hf_hub_download", "load_dataset"):
            add(node, last, "fetches from the Hub")
