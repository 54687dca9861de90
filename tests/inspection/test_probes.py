"""The tokenizer probe: what a tokenizer makes of a fixed list of texts is seen at intake; hostile ones are a warning."""

from __future__ import annotations

import json
import string
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from inference import probing
from inference.probe_texts import PROBES
from registry import probes
from registry.exceptions import JobCancelled
from registry.inspecting import Content
from registry.jobs import Running
from registry.models import Job, Revision
from tests.factories import World, make_approval
from tests.inspection.test_child import put
from tests.registry.hubs import Hub
from tests.registry.test_intake import intake
from tests.sample_hub.samples import tiny_model

pytestmark = [pytest.mark.slow]
VOCABULARY = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", *string.ascii_letters, *string.digits, *(f"##{c}" for c in string.ascii_letters)
]  # fmt: skip


def tokenizer_of(**normalizer: Any) -> dict[str, bytes]:
    """A repository whose tokenizer spells letters, with these flags of its normaliser; everything else is the same."""
    flags = {"clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}
    document = {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": {"type": "BertNormalizer", **flags, **normalizer},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
            "vocab": {token: number for number, token in enumerate(VOCABULARY)},
        },
    }  # fmt: skip
    return {**tiny_model(), "tokenizer.json": json.dumps(document).encode()}


def probe(files: dict[str, bytes]) -> probes.Probed:
    listed = [(path, sha256, size) for path, (sha256, size) in put(files).items()]
    return probing.tokenizer(probes.Probing(Running(Job(), "test"), "acme/x", "a" * 40, listed))


def test_the_list_of_texts_covers_what_tokenizers_differ_in() -> None:
    assert 40 <= len(PROBES) == len(set(PROBES.values()))
    everything = "".join(PROBES.values())
    assert {"\u200d", "_", "\x00", "\u0302", "ế", "中", "这"} & set(everything) >= {
        "\u200d",
        "_",
        "\x00",
        "\u0302",
        "ế",
        "这",
    }
    assert any(not text.strip() for text in PROBES.values()) and "" in PROBES.values()
    nfc, nfd = PROBES["composed characters (NFC)"], PROBES["decomposed characters (NFD)"]
    assert unicodedata.is_normalized("NFC", nfc) and not unicodedata.is_normalized("NFC", nfd)
    assert unicodedata.normalize("NFC", nfd) == nfc
    for text in PROBES.values():
        text.encode("utf-8")


def test_one_flag_of_the_normaliser_gives_another_digest_and_the_same_files_the_same() -> None:
    first, again, cased, accents = map(
        probe,
        (
            tokenizer_of(),
            tokenizer_of(),
            tokenizer_of(lowercase=False, strip_accents=True),
            tokenizer_of(strip_accents=False),
        ),
    )
    assert [p.why_not for p in (first, again, cased, accents)] == [""] * 4
    assert first.facts == again.facts and len(first.facts["each"]) == first.facts["texts"] == len(PROBES)
    assert len({p.facts["digest"] for p in (first, cased, accents)}) == 3
    assert first.facts["vocab_size"] == len(VOCABULARY) and set(first.facts["libraries"]) == {
        "transformers",
        "tokenizers",
    }
    assert "English, upper case" in probes.differing(first.facts, cased.facts)
    assert "Vietnamese" in probes.differing(first.facts, accents.facts)
    assert "English" not in probes.differing(first.facts, accents.facts)


HOSTILE: dict[str, tuple[dict[str, bytes], str]] = {
    "another format under the name": ({"tokenizer.json": b'{"model": {"type": "No such"}}'}, "Cannot load the tokenizer"),
    "code of its own": (
        {
            "tokenizer.json": b"{}",
            "tokenizer_config.json": b'{"auto_map": {"AutoTokenizer": ["evil.T", "evil.T"]}, "tokenizer_class": "T"}',
            "evil.py": b"open('/tmp/assay-was-here', 'w')\nclass T: pass\n",
        },
        "Cannot load the tokenizer",
    ),
    "no tokenizer": ({"tokenizer.json": b"", "tokenizer_config.json": b"{}"}, "Cannot load the tokenizer"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_tokenizer_is_a_reason_and_never_code(case: str) -> None:
    changes, words = HOSTILE[case]
    left = Path("/tmp/assay-was-here")
    left.unlink(missing_ok=True)
    found = probe({**tiny_model(), **changes})
    assert words in found.why_not and found.facts == {} and not left.exists()


def test_huge_tokenizer_meets_the_limits_of_the_child(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.INSPECTION_MEMORY_MB, settings.INSPECTION_TIMEOUT_S = 700, 20
    vocabulary = {f"token{n}": n for n in range(1_500_000)}
    model = {"type": "WordLevel", "vocab": {"[UNK]": 1_500_000, **vocabulary}, "unk_token": "[UNK]"}
    large = json.dumps({"version": "1.0", "added_tokens": [], "model": model}).encode()
    found = probe({**tiny_model(), "tokenizer.json": large})
    assert "memory" in found.why_not or "time" in found.why_not or "died" in found.why_not
    monkeypatch.setattr(probing, "MAX_BYTES", 1000)
    assert "more than the 1000 that are tried" in probe({**tiny_model(), "tokenizer.json": large}).why_not


def test_an_answer_that_is_not_what_it_must_be_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    said: dict[str, Any] = {"probe_digest": "<script>", "probe_digests": ["x"], "vocab_size": 1}
    monkeypatch.setattr(probing, "run_order", lambda running, order, home: said)
    assert probe(tiny_model()).why_not == "the child's answer could not be read."


def test_a_cancelled_intake_is_not_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def cancelled(running: Any, order: Any, home: Any) -> dict[str, Any]:
        raise JobCancelled

    monkeypatch.setattr(probing, "run_order", cancelled)
    with pytest.raises(JobCancelled):
        probe(tiny_model())


def test_reason_why_not_becomes_a_warning(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.INSPECTION_PROBES = ["inference.probing.tokenizer"]
    monkeypatch.setattr(
        probing, "tokenizer", lambda given: probes.Probed("tokenizer", "tokenizer.json", why_not="It died.")
    )
    content = Content(facts={"tokenizer": {"class": "T"}})
    probes.run(probes.Probing(Running(Job(), "test"), "acme/x", "a" * 40, []), content)
    assert content.facts["tokenizer"] == {"class": "T", "probe": {"why_not": "It died."}}
    assert [(f["severity"], f["message"]) for f in content.findings] == [
        ("warn", "The tokenizer could not be tried out: It died.")
    ]


@pytest.mark.django_db
def test_drift_against_the_approved_revision_is_loud_on_its_page(
    world: World, hub: Hub, settings: Any, client: Any
) -> None:
    settings.INSPECTION_PROBES = ["inference.probing.tokenizer"]
    hub.commit(tokenizer__json=tokenizer_of()["tokenizer.json"])
    assert intake(world).state == "succeeded"
    approved = Revision.objects.get()
    probed = approved.facts["tokenizer"]["probe"]
    assert probed["texts"] == len(PROBES) and not [
        f for f in approved.findings if "probe texts" in f["message"]
    ]
    make_approval(world, approved)
    hub.commit(tokenizer__json=tokenizer_of(lowercase=False, strip_accents=True)["tokenizer.json"])
    assert intake(world).state == "succeeded"
    newer = Revision.objects.exclude(pk=approved.pk).get()
    (finding,) = [f for f in newer.findings if "probe texts" in f["message"]]
    assert finding["severity"] == "fail" and "English, upper case" in finding["message"]
    client.force_login(world.viewer.user)
    page = client.get(f"/revisions/{newer.pk}/").content.decode()
    # Its own digest is another one; the approved one stands beside it, in what changed.
    assert "tokenizer changed since the last approved revision" in page
    assert newer.facts["tokenizer"]["probe"]["digest"] != probed["digest"]
    before = client.get(f"/revisions/{approved.pk}/").content.decode()
    assert "tokenizer changed" not in before and probed["digest"][:12] in before


def test_lists_of_two_versions_and_missing_probes_are_not_compared() -> None:
    was = {"version": 1, "digest": "a", "each": {"x": "1"}, "texts": 1}
    now = {**was, "digest": "b", "each": {"x": "2"}}
    assert probes.differing(was, now) == ["x"]
    assert (
        probes.differing(was, {**now, "version": 2})
        == probes.differing({}, now)
        == probes.differing(was, {})
        == []
    )
