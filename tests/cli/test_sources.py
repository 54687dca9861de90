"""A table of source texts and what is said of them; every rule of the sources has its line here."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from cli.document import check_content
from cli.findings import CannotCheck
from cli.sources import check_text, python_files
from tests.cli.locks import MODEL_ID, OTHER_SHA, SHA, Desk, entry, signed

UPPER = "A" * 40
CODE = "acme/with-code"


def lock():  # type: ignore[no-untyped-def]
    from datetime import UTC, datetime

    return check_content("lock", signed(entry(), entry(CODE, code_allowed=True)), datetime.now(UTC))[0]


def said(source: str, locked: bool = True) -> list[tuple[str, int]]:
    """(rule, line) of every finding."""
    found = check_text(textwrap.dedent(source), "app.py", lock() if locked else None)
    return [(finding.rule, finding.line) for finding in found]


FINE = [
    f'AutoModel.from_pretrained("{MODEL_ID}", revision="{SHA}")',
    f'AutoModel.from_pretrained(pretrained_model_name_or_path="{MODEL_ID}", revision="{SHA}")',
    f'M = "{MODEL_ID}"\nS: str = "{SHA}"\nAutoModel.from_pretrained(M, revision=S)',
    f'ORG = "acme"\nAutoModel.from_pretrained(f"{{ORG}}/sentiment-vi-en", revision="{SHA}")',
    f'AutoModel.from_pretrained("acme/" "sentiment" + "-vi-en", revision="{SHA}")',
    f'AutoModel.from_pretrained("{MODEL_ID}", **{{"revision": "{SHA}"}})',
    f'from transformers import pipeline\npipeline("x", model="{MODEL_ID}", revision="{SHA}")',
    f'from transformers import pipeline\npipeline("x", "{MODEL_ID}", revision="{SHA}", tokenizer="{MODEL_ID}")',
    f'import huggingface_hub as h\nh.snapshot_download("{MODEL_ID}", revision="{SHA}")',
    f'hf_hub_download(repo_id="{MODEL_ID}", filename="config.json", revision="{SHA}")',
    f'load_dataset("acme/reviews", revision="{OTHER_SHA}")',
    f'snapshot_download("acme/reviews", repo_type="dataset", revision="{OTHER_SHA}")',
    f'AutoModel.from_pretrained("{CODE}", revision="{SHA}", trust_remote_code=True)',
    f'AutoModel.from_pretrained("{MODEL_ID}", revision="{SHA}", trust_remote_code=False)',
    f'PeftModel.from_pretrained(base, "{MODEL_ID}", revision="{SHA}")',
    'from sklearn.pipeline import Pipeline, make_pipeline as pipeline\npipeline("x", model="y/z")',
    'from .transformers import pipeline\npipeline("x")',
    'self.pipeline("text-classification")',
    "def from_pretrained(cls, name): ...",
    "text = 'AutoModel.from_pretrained(\"acme/x\")'  # AutoModel.from_pretrained('acme/x')",
    "def f(m: SentenceTransformer) -> CrossEncoder: ...",
]


@pytest.mark.parametrize("source", FINE)
def test_pinned_and_approved_source_is_fine(source: str) -> None:
    assert said(source) == []


WRONG = [
    (f'AutoModel.from_pretrained("{MODEL_ID}")', "unpinned"),
    (f'AutoModel.from_pretrained("{MODEL_ID}", revision=None)', "unpinned"),
    (f'M = "{MODEL_ID}"\nAutoModel.from_pretrained(M)', "unpinned"),
    ('AutoTokenizer.from_pretrained("bert-base-uncased")', "unpinned"),
    ('from transformers import pipeline\npipeline("sentiment-analysis")', "unpinned"),
    ('from transformers import pipeline as p\np("x", model="acme/x")', "unpinned"),
    ('import transformers as t\nt.pipeline("x", "acme/x")', "unpinned"),
    ('import transformers\ntransformers.pipelines.pipeline("x", "acme/x")', "unpinned"),
    ('from transformers import *\npipeline("x", "acme/x")', "unpinned"),
    ('from huggingface_hub import snapshot_download as get\nget("acme/x")', "unpinned"),
    ('HfApi().snapshot_download(repo_id="acme/x")', "unpinned"),
    ('hf_hub_download("acme/x", "config.json")', "unpinned"),
    ('load_dataset("acme/reviews")', "unpinned"),
    ('SentenceTransformer("acme/embed")', "unpinned"),
    ('PeftModel.from_pretrained(base, "acme/adapter")', "unpinned"),
    ('def f():\n    return [AutoModel.from_pretrained("acme/x") for _ in "1"]', "unpinned"),
    ('async def f():\n    await g(AutoModel.from_pretrained("acme/x"))', "unpinned"),
    (f'AutoModel.from_pretrained("{MODEL_ID}", revision="main")', "mutable-revision"),
    (f'AutoModel.from_pretrained("{MODEL_ID}", revision="v1.0")', "mutable-revision"),
    (f'AutoModel.from_pretrained("{MODEL_ID}", revision="{SHA[:12]}")', "mutable-revision"),
    (f'AutoModel.from_pretrained("{MODEL_ID}", revision="{UPPER}")', "mutable-revision"),
    (f'AutoModel.from_pretrained("{MODEL_ID}", revision="{SHA}\\n")', "mutable-revision"),
    (f'AutoModel.from_pretrained("{MODEL_ID}", revision="")', "mutable-revision"),
    (f'AutoModel.from_pretrained("{MODEL_ID}", **{{"revision": "main"}})', "mutable-revision"),
    ('load_dataset("acme/reviews", revision="main")', "mutable-revision"),
    (f'AutoModel.from_pretrained("{MODEL_ID}", revision="{OTHER_SHA}")', "not-in-lock"),
    (f'AutoModel.from_pretrained("acme/other", revision="{SHA}")', "not-in-lock"),
    (
        f'from transformers import pipeline\npipeline("x", "{MODEL_ID}", revision="{SHA}", tokenizer="a/b")',
        "not-in-lock",
    ),
    (f'AutoModel.from_pretrained("{MODEL_ID}", revision="{SHA}", trust_remote_code=True)', "remote-code"),
    (f'AutoModel.from_pretrained("{MODEL_ID}", revision="{SHA}", trust_remote_code=1)', "remote-code"),
]


@pytest.mark.parametrize(("source", "rule"), WRONG)
def test_wrong_source_is_found(source: str, rule: str) -> None:
    assert [found for found, _ in said(source)] == [rule]


NOTED = [
    ("AutoModel.from_pretrained(name)", ["unresolved"]),
    ("AutoModel.from_pretrained(Path('x'))", ["unresolved"]),
    (f'AutoModel.from_pretrained("{MODEL_ID}", revision=os.environ["R"])', ["unresolved"]),
    (f'AutoModel.from_pretrained("{MODEL_ID}", **options)', ["unresolved"]),
    ("AutoModel.from_pretrained(*args)", ["unresolved"]),
    (f'AutoModel.from_pretrained("{MODEL_ID}", revision="{SHA}", trust_remote_code=flag)', ["unresolved"]),
    (f'R = "main"\nR = "{SHA}"\nAutoModel.from_pretrained("{MODEL_ID}", revision=R)', ["unresolved"]),
    (f'R = "{SHA}"\ndef f(R):\n    AutoModel.from_pretrained("{MODEL_ID}", revision=R)', ["unresolved"]),
    (f'R = "{SHA}"\nfor R in x: pass\nAutoModel.from_pretrained("{MODEL_ID}", revision=R)', ["unresolved"]),
    ("load = AutoModel.from_pretrained", ["unresolved"]),
    ('functools.partial(AutoModel.from_pretrained, "acme/x")', ["unresolved"]),
    ('getattr(AutoModel, "from_pretrained")("acme/x")', ["unresolved"]),
    ('AutoModel.from_pretrained("./models/x")', ["local-path"]),
    ('AutoModel.from_pretrained("/srv/models/x")', ["local-path"]),
    ('AutoModel.from_pretrained("~/models/x")', ["local-path"]),
    (r'AutoModel.from_pretrained("C:\\models\\x")', ["local-path"]),
    ('AutoModel.from_pretrained("models/a/b")', ["local-path"]),
    ('load_dataset("csv", data_files="x.csv")', ["local-path"]),
]


@pytest.mark.parametrize(("source", "rules"), NOTED)
def test_what_cannot_be_read_or_is_local_is_a_note(source: str, rules: list[str], desk: Desk) -> None:
    assert [rule for rule, _ in said(source)] == rules
    file = desk.folder / "app.py"
    file.write_text(source)
    assert desk.with_lock("--sources", file)[0] == 0


@pytest.mark.parametrize("source", [f'AutoModel.from_pretrained("any/model", revision="{SHA}")'])
def test_pinned_source_without_a_lock_is_fine(source: str) -> None:
    assert said(source, locked=False) == []


def test_remote_code_without_a_lock_is_an_error() -> None:
    assert said(
        f'AutoModel.from_pretrained("a/b", revision="{SHA}", trust_remote_code=True)', locked=False
    ) == [("remote-code", 1)]


def test_findings_say_line_and_column() -> None:
    source = 'import x\n\nif x:\n    m = A.from_pretrained("acme/x")\n'
    (finding,) = check_text(source, "app.py", None)
    assert (finding.path, finding.line, finding.column) == ("app.py", 4, 9)


def test_cure_names_the_locked_commit() -> None:
    (finding,) = check_text(f'A.from_pretrained("{MODEL_ID}")', "app.py", lock())
    assert finding.message.endswith(f'Write revision="{SHA}".')


# --- # assay: ignore ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("comment", "rule"),
    [
        ("# assay: ignore - only in a notebook", "ignored"),
        ("# assay: ignore[unpinned] - only in a notebook", "ignored"),
        ("# noqa # assay: ignore[remote-code, unpinned]: measured by hand", "ignored"),
        ("# assay: ignore", "unpinned"),
        ("# assay: ignore -", "unpinned"),
        ("# assay: ignore[remote-code] - another rule", "unpinned"),
    ],
)
def test_ignore_comment_counts_with_a_reason_and_for_its_rules(comment: str, rule: str) -> None:
    assert said(f'A.from_pretrained("acme/x")  {comment}') == [(rule, 1)]


def test_ignore_comment_covers_its_own_call_only() -> None:
    source = """
    A.from_pretrained(
        "acme/x",  # assay: ignore - migrating next week
    )
    A.from_pretrained("acme/y", note="# assay: ignore - text is no comment")
    """
    assert said(source) == [("ignored", 2), ("unpinned", 5)]


# --- files -------------------------------------------------------------------------------------------------------------


def test_folders_are_walked_without_environments(tmp_path: Path) -> None:
    for name in (
        "a.py",
        "b/c.py",
        ".venv/x.py",
        "node_modules/y.py",
        "__pycache__/z.py",
        "d.txt",
        ".git/h.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    found = [path.relative_to(tmp_path).as_posix() for path in python_files([tmp_path])]
    assert found == ["a.py", "b/c.py"]


@pytest.mark.parametrize(
    "content",
    [
        b"def (:\n",
        b"\xff\xfe",
        b"x = '\0'",
        b"# coding: nothing\n",
        b"(" * 5000,
        b"-" * 100_000 + b"1",
        b"x = 1\n  y = 2\n",
    ],
)
def test_file_that_is_not_python_cannot_be_checked(tmp_path: Path, desk: Desk, content: bytes) -> None:
    file = tmp_path / "bad.py"
    file.write_bytes(content)
    code, rules, answer = desk.run("--sources", file)
    assert (code, rules) == (2, [])
    assert "bad.py" in answer["problems"][0]


def test_other_encodings_and_odd_escapes_are_read(tmp_path: Path, desk: Desk) -> None:
    file = tmp_path / "latin.py"
    file.write_bytes(
        "# -*- coding: latin-1 -*-\r\nx = 'é\\d'\r\nA.from_pretrained('a/b')\r\n".encode("latin-1")
    )
    code, rules, answer = desk.run("--sources", file)
    assert (code, rules, answer["findings"][0]["line"]) == (1, ["unpinned"], 3)


def test_missing_path_cannot_be_checked(tmp_path: Path) -> None:
    with pytest.raises(CannotCheck, match="does not exist"):
        python_files([tmp_path / "nowhere"])
