"""docs/policies.md: how rules are written, with the catalogue of facts, which is generated from its table."""

from __future__ import annotations

from reviews.policies.documents import default_policy
from reviews.policies.facts import CATALOGUE

TEXT = """# Policies

Generated from the tables in `reviews/policies/` with `python -m tests.house.policies > docs/policies.md`; a test
compares the two.

A policy is YAML: a name (`policy`), a `title` and `rules`. Each rule `require`s a condition over facts. A condition
that does not hold, or whose facts are not known, is a violation with an effect: `fail` stands in the way of every
approval it applies to, `warn` and `info` are shown. `production-minimum` ships with Assay and is in force for every
team until the team puts its own version of that name in force.

```yaml
policy: our-rules
title: What our team asks for besides
rules:
  - key: fast_enough
    title: Fast enough
    environments: [production]      # also: tiers: [high], when: <condition>; without them it applies everywhere
    require: latency.p95_ms <= 50.0
    effect: fail                    # fail, warn, info
    message: "It takes {latency.p95_ms} ms, more than 50."
    missing: Nobody has measured it yet.
    who: whoever starts a benchmark
    waivable: true
    panel: true                     # always shown on the revision's page, not only when it is violated
```

- **Conditions** are CEL: `&& || ! == != < <= > >= in + - /`, `? :`, `has(fact)`, `size`, `contains`, `startsWith`,
  `endsWith`, `all`, `exists`, `exists_one`, `filter`, `map`. Whole numbers are written `1`, decimals `1.0`. A fact
  behind `has(...)` may be unknown. Length, depth, steps and seconds are bounded; what exceeds them is a violation.
- **Where a rule applies**: to the environment asked for, and to those that the decision record allows besides; `tiers`
  likewise look at the widest use that is allowed.
- **Versions** are never edited: saving makes the next one, as a draft. An admin puts it on a dry run (shown on
  revisions, blocks nothing), in force, or retires it. Before that, “What would flip?” judges everything that is pending
  or approved as if it were in force, and writes nothing. API: `PUT /api/v1/policies` (YAML or JSON), `POST
  /api/v1/policies/simulate`, `POST /api/v1/policies/versions/{id}`.
- **Waivers** take one rule out of one revision's way, with a reason, an owner and an end; reviewers, security auditors
  and admins grant them, never whoever submitted. On its date, or ended by hand before it, the violation is back. The
  rules that have a way of their own cannot be waived.
- **A decision keeps** the versions in force (name, number, digest) and the waivers it rests on, in its audit event and
  in its attestation. Policies that change later do not take back an approval: the simulator shows which would not be
  given any more.
"""


def as_markdown() -> str:
    rules = [
        f"| {r.title} | {', '.join(sorted(r.environments)) or 'everywhere'} | {r.effect} | `{_cell(r.require.source)}` |"
        for r in default_policy().rules
    ]
    facts = [
        f"| `{f.name}` | {_cell(f.title)} | {f.type}{f', {f.unit}' if f.unit else ''} | {f.source} |"
        for f in CATALOGUE
    ]
    return "\n".join(
        [
            TEXT,
            "## The minimum that ships",
            "| Rule | Where | Effect | Requires |\n|---|---|---|---|",
            *rules,
            "",
            "## Facts",
            "| Name | What it says | Type | From |\n|---|---|---|---|",
            *facts,
            "",
        ]
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
