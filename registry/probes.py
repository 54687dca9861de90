"""Facts that only running code of the upper floors can give: what a tokenizer does, not what its files say.

This floor knows no model library, so settings name the functions (`INSPECTION_PROBES`, dotted paths). Intake calls each with
the verified files before the revision is written; each runs what it must in a contained child process of its own. A probe
that cannot be run is a warning with the reason, never a failed intake: the reviewers decide what that means.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from registry.enums import ApprovalStatus
from registry.inspecting import Content
from registry.inspection.findings import Severity, clean
from registry.jobs import Running
from registry.models import Approval, RegisteredModel, Revision

NAMED = 6  # differing probe texts that a sentence names


@dataclass(frozen=True)
class Probing:
    """What a probe may look at: the verified files but quarantined ones, (path, sha256, size in bytes)."""

    running: Running
    model_id: str
    commit_sha: str
    files: list[tuple[str, str, int]]


@dataclass(frozen=True)
class Probed:
    """`facts` become `revision.facts[name]["probe"]`; when it could not be run, `why_not` is the sentence that says why."""

    name: str
    path: str
    facts: dict[str, Any] = field(default_factory=dict)
    why_not: str = ""


Probe = Callable[[Probing], Probed]


def run(probing: Probing, content: Content) -> None:
    """Adds every probe's facts, or the reason why there are none, to `content`."""
    for dotted in settings.INSPECTION_PROBES:
        probe: Probe = import_string(dotted)
        probed = probe(probing)
        facts = content.facts.setdefault(probed.name, {})
        if probed.why_not:
            reason = clean(probed.why_not)[:500]
            facts["probe"] = {"why_not": reason}
            content.say(
                Severity.WARN,
                probed.path,
                f"The {probed.name} could not be tried out: {reason}",
                f"Whether it changed since the last approved revision is not known. Run the {probed.name} on your own texts.",
            )
        else:
            facts["probe"] = probed.facts


def last_approved(model: RegisteredModel) -> Revision | None:
    """What a new revision of the model is compared with."""
    last = (
        Approval.objects.filter(model=model, status=ApprovalStatus.ACTIVE)
        .select_related("revision")
        .order_by("-approved_at")
        .first()
    )
    return last.revision if last else None


def tokenizer_probe(revision: Revision) -> dict[str, Any]:
    """The tokenizer probe's facts; empty when it was never run or could not be."""
    facts = revision.facts if isinstance(revision.facts, dict) else {}
    found = facts.get("tokenizer", {}).get("probe")
    return found if isinstance(found, dict) and "digest" in found else {}


def differing(was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The names of the probe texts that two revisions' tokenizers encode differently.

    Empty when one was not probed, and when the lists of texts are of two versions: then nothing can be compared.
    """
    if not was or not now or was.get("version") != now.get("version") or was["digest"] == now["digest"]:
        return []
    return [name for name, digest in now["each"].items() if was["each"].get(name) != digest]


WEIGHTS = ".safetensors"


def compare(approved: Revision | None, content: Content, weights: set[str]) -> None:
    """Says loudly that the tokenizer cuts texts otherwise than at the last approved revision, even if the files look alike.

    `weights` are the digests of the new revision's weights. The same weights behind another tokenizer read inputs that they
    were never trained on: that fails. New weights may well have been trained with it: that warns.
    """
    now = content.facts.get("tokenizer", {}).get("probe") or {}
    was = tokenizer_probe(approved) if approved else {}
    names = differing(was, now if "digest" in now else {})
    if not names:
        return
    first = "; ".join(names[:NAMED]) + (f"; and {len(names) - NAMED} more" if len(names) > NAMED else "")
    other_library = (
        "" if was.get("libraries") == now.get("libraries") else " Another version of the library ran it then."
    )
    assert approved is not None
    same = bool(weights & {file.blob_id for file in approved.files.all() if file.path.endswith(WEIGHTS)})
    content.say(
        Severity.FAIL if same else Severity.WARN,
        "tokenizer.json",
        f"The tokenizer changed: it encodes {len(names)} of {now['texts']} probe texts differently than at the last approved "
        f"revision ({first}).{other_library}",
        "The weights are those of that revision, so they read inputs they were not trained on. Take its tokenizer back."
        if same
        else "The model reads other inputs than those it was tested with. Compare the golden-set results before you decide.",
    )
