"""What the repository and the runs say to each item of the Model Card Review. One function an item, in its order.

An item without a function is a person's judgement: nothing is suggested, and nobody can accept what nobody has found.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from registry.enums import CodeAudit, EvidenceKind
from reviews.checklists.reading import SILENT, Reading, Source, Suggestion, stated

Suggest = Callable[[Reading], Suggestion]
_HUB = "Hub metadata"
_SENSITIVE = ("confidential", "personal")


def _said(found: tuple[str, Source] | None) -> Suggestion:
    return stated(found[0], found[1]) if found else SILENT


def _joined(*found: tuple[str, Source] | None) -> Suggestion:
    """Several passages as one answer, a line each."""
    known = [each for each in found if each]
    return stated("\n".join(text for text, _ in known), *(source for _, source in known)) if known else SILENT


def _header(key: str) -> Suggest:
    def suggest(r: Reading) -> Suggestion:
        found = r.header(key)
        if found is None:
            return SILENT
        value, source = found
        return stated(", ".join(map(str, value)) if isinstance(value, list) else str(value), source)

    return suggest


def _section(*keys: str) -> Suggest:
    return lambda r: _said(r.section(*keys))


# --- Basic information ---------------------------------------------------------------------------------------------


def _model_id(r: Reading) -> Suggestion:
    return stated(r.revision.model.model_id, Source("hub", _HUB, commit=r.commit))


def _revision(r: Reading) -> Suggestion:
    manifest = f"manifest sha256 {r.revision.manifest_sha256}"
    return stated(r.commit, Source("registry", "the pinned revision", commit=r.commit, quote=manifest))


def _family(r: Reading) -> Suggestion:
    names = r.facts("config").get("architectures") or r.revision.config.get("architectures") or []
    return stated(", ".join(map(str, names)), r.config("architectures")) if names else SILENT


def _task(r: Reading) -> Suggestion:
    if r.revision.pipeline_tag:
        found = r.header("pipeline_tag")
        return stated(r.revision.pipeline_tag, found[1] if found else Source("hub", _HUB, commit=r.commit))
    return SILENT


def _asked(name: str, label: str) -> Suggest:
    def suggest(r: Reading) -> Suggestion:
        value = getattr(r.asked, name)
        return stated(value, Source("submission", label, quote=value)) if value else SILENT

    return suggest


# --- License ---------------------------------------------------------------------------------------------------------


def _declared(r: Reading) -> tuple[list[dict[str, Any]], list[Source]]:
    header = r.header("license")
    entries = r.facts("licence").get("declared", [])
    table = [
        Source(
            "licence",
            "licence table",
            "",
            None,
            r.commit,
            f"{e.get('spdx') or e.get('id')}: {e.get('category')}",
        )
        for e in entries
    ]
    return entries, [*([header[1]] if header else []), *table]


def _license(r: Reading) -> Suggestion:
    header = r.header("license")
    _, sources = _declared(r)
    files = r.facts("licence").get("files", {})
    bases = r.facts("licence").get("bases", {})
    told = [str(header[0])] if header else []
    for path, family in files.items():
        told.append(f"{path} reads like {family or 'no licence that Assay knows'}.")
        sources.append(Source("licence", path, path, None, r.commit, family))
    for base, licence in bases.items():
        told.append(f"Base model {base}: {licence or 'licence not known'}.")
        sources.append(Source("hub", f"{_HUB} of {base}", commit=r.commit))
    return stated("\n".join(told), *sources) if told else SILENT


def _commercial(r: Reading) -> Suggestion:
    entries, sources = _declared(r)
    if not entries:
        return SILENT
    if any(entry.get("non_commercial") for entry in entries):
        return stated("The licence forbids commercial use.", *sources, value="no", concern=True)
    if all(entry.get("category") in ("Permissive", "Public Domain") for entry in entries):
        return stated("", *sources, value="yes")
    return SILENT  # other categories have conditions that a table cannot judge


def _attribution(r: Reading) -> Suggestion:
    entries, sources = _declared(r)
    if not entries or any(entry.get("category") != "Permissive" for entry in entries):
        return SILENT
    return stated("Permissive: keep the copyright notice and the licence text with every copy.", *sources)


def _redistribution(r: Reading) -> Suggestion:
    entries, sources = _declared(r)
    if any(entry.get("no_derivatives") for entry in entries):
        return stated("The licence forbids derivatives.", *sources, concern=True)
    if entries and all(entry.get("category") in ("Permissive", "Public Domain") for entry in entries):
        return stated("None beyond keeping the notice.", *sources)
    return SILENT


# --- Language ----------------------------------------------------------------------------------------------------------


def _vietnamese(r: Reading) -> Suggestion:
    found = r.header("language")
    if found is None:
        return SILENT
    languages = found[0] if isinstance(found[0], list) else [found[0]]
    return stated("", found[1], value="yes" if "vi" in map(str, languages) else "no")


def _preprocessing(r: Reading) -> Suggestion:
    return _said(r.sentence("segmentation", "preprocess", "pre-process", "tách từ"))


def _tokenizer(r: Reading) -> Suggestion:
    facts = r.facts("tokenizer")
    if not facts.get("vocab_size"):
        return SILENT
    words: dict[Any, str] = {True: "lower-cases", False: "keeps case"}
    lower = words.get(facts.get("lowercase"), "case not stated")
    text = f"{facts.get('algorithm') or 'Unknown algorithm'}, {facts['vocab_size']} tokens, {lower}"
    return stated(text, Source("inspection", "tokenizer.json", "tokenizer.json", None, r.commit, text))


# --- Metrics and limitations ------------------------------------------------------------------------------------------


def _metrics(r: Reading) -> Suggestion:
    declared = r.facts("card").get("metrics", [])
    shown = "; ".join(f"{m['type']} {m['value']} on {m['dataset'] or 'an unnamed set'}" for m in declared[:6])
    index = r.header("model-index")
    reported = (f"The card: {shown}.", index[1]) if shown and index else r.section("metrics", "results")
    run = r.run(EvidenceKind.EVALUATION)
    return _joined(reported, (f"Our golden set: {run[0].summary}.", run[1]) if run else None)


def _benchmark_split(r: Reading) -> Suggestion:
    run = r.run(EvidenceKind.EVALUATION)
    if run is None:
        return SILENT
    golden = run[0].data.get("golden_set", {})
    return stated(
        f"Golden set {golden.get('name')}, {golden.get('size')} examples.",
        run[1],
        value=f"run {run[0].job_id}",
    )


def _max_length(r: Reading) -> Suggestion:
    length = r.facts("config").get("max_position_embeddings") or r.revision.config.get(
        "max_position_embeddings"
    )
    return (
        stated("", r.config("max_position_embeddings"), value=length) if isinstance(length, int) else SILENT
    )


# --- Safety and security ----------------------------------------------------------------------------------------------


def _remote_code(r: Reading) -> Suggestion:
    if r.revision.code_audit == CodeAudit.NOT_APPLICABLE:
        quote = "No Python code and no code keys in the configuration."
        return stated(quote, r.inspection(quote=quote), value="no")
    facts = r.facts("config")
    places = ", ".join([*facts.get("python_files", []), *facts.get("code_keys", [])][:5])
    return stated(
        f"The repository carries code: {places}", r.inspection(quote=places), value="yes", concern=True
    )


def _code_audited(r: Reading) -> Suggestion:
    state = r.revision.code_audit
    source = r.inspection("code audit", r.revision.get_code_audit_display())
    if state == CodeAudit.NOT_APPLICABLE:
        return stated("", source, value="na")
    if state == CodeAudit.PASSED:
        return stated("", source, value="yes")
    words = f"The code audit: {r.revision.get_code_audit_display().lower()}."
    return stated(words, source, value="no", concern=True)


def _sensitive(r: Reading) -> Suggestion:
    if not r.asked.data_class:
        return SILENT
    source = Source("submission", "data class of the submission", quote=r.asked.data_class)
    return stated("", source, value="yes" if r.asked.data_class in _SENSITIVE else "no")


def _output_risks(r: Reading) -> Suggestion:
    labels = list(r.revision.label_mapping.values())
    if not labels:
        return _said(r.section("limitations"))
    return stated(
        f"It answers with one of {len(labels)} labels: {', '.join(labels[:10])}.", r.config("id2label")
    )


# --- Inference ---------------------------------------------------------------------------------------------------------


def _size(r: Reading) -> Suggestion:
    source = Source("registry", "file manifest", commit=r.commit, quote=f"{r.revision.total_size} bytes")
    return stated("", source, value=round(r.revision.total_size / 1e6, 1))


def _cpu(r: Reading) -> Suggestion:
    run = r.run(EvidenceKind.BENCHMARK)
    if run is None or run[0].data.get("hardware", {}).get("device") != "cpu":
        return SILENT
    return stated(f"Measured on a CPU: {run[0].summary}.", run[1], value="yes")


def _gpu(r: Reading) -> Suggestion:
    run = r.run(EvidenceKind.BENCHMARK)
    if run is None:
        return _said(r.section("inference", "technical"))
    data = run[0].data
    if data.get("max_vram_mb"):
        return stated(f"{data['max_vram_mb']:.0f} MB of GPU memory at most in the benchmark.", run[1])
    return stated(
        f"None: it ran on {data.get('hardware', {}).get('cpu', 'a CPU')}, {data['max_rss_mb']:.0f} MB.",
        run[1],
    )


def _latency(r: Reading) -> Suggestion:
    run = r.run(EvidenceKind.BENCHMARK)
    return stated("", run[1], value=round(run[0].data["latency_p95_ms"], 1)) if run else SILENT


def _quantization(r: Reading) -> Suggestion:
    dtypes = r.facts("weights").get("dtypes", {})
    if not dtypes:
        return SILENT
    small = [name for name in dtypes if name.upper() in ("I8", "U8", "F8_E4M3", "F8_E5M2", "I4", "U4")]
    text = f"Weights are stored as {', '.join(dtypes)}."
    return stated(text, r.inspection("weights", text), value="yes" if small else "no")


def _batch_size(r: Reading) -> Suggestion:
    run = r.run(EvidenceKind.BENCHMARK)
    sizes = [cell["batch_size"] for cell in run[0].data.get("grid", [])] if run else []
    return stated("", run[1], value=max(sizes)) if run and sizes else SILENT


def _rollback(r: Reading) -> Suggestion:
    if not r.others:
        return SILENT
    text = f"Back to {r.others[0][:7]}, which is approved."
    return stated(text, Source("registry", "approvals", commit=r.others[0], quote=r.others[0]))


SUGGESTIONS: dict[str, Suggest] = {
    "model_id": _model_id, "revision": _revision, "model_family": _family, "task": _task,
    "owner": _asked("owner", "owner of the submission"), "review_date": _asked("opened_on", "review opened"),
    "license": _license, "commercial_use": _commercial, "attribution": _attribution, "redistribution": _redistribution,
    "intended_use": _section("direct_use"), "intended_users": _section("downstream_use"),
    "intended_domain": _section("description"), "out_of_scope": _section("out_of_scope"),
    "language": _header("language"), "vietnamese": _vietnamese, "preprocessing": _preprocessing, "tokenizer": _tokenizer,
    "dataset": lambda r: _joined(_header_words(r, "datasets"), r.section("training_data")),
    "evaluation_data": _section("evaluation_data"),
    "data_risks": lambda r: _said(r.sentence("leak", "personal data", "duplicate")),
    "data_clarity": _section("training_procedure"),
    "metrics": _metrics, "benchmark_split": _benchmark_split,
    "limitations": _section("limitations"), "max_length": _max_length,
    "robustness": lambda r: _said(r.sentence("robust", "irony", "typo", "diacritic", "slang")),
    "bias": lambda r: _said(r.sentence("bias", "toxic", "privacy")),
    "remote_code": _remote_code, "code_audited": _code_audited, "sensitive_data": _sensitive,
    "output_risks": _output_risks, "misuse": _section("out_of_scope"),
    "artifact_size": _size, "cpu_viable": _cpu, "gpu_requirement": _gpu, "expected_latency": _latency,
    "quantization": _quantization, "batch_size": _batch_size, "rollback": _rollback,
}  # fmt: skip


def _header_words(r: Reading, key: str) -> tuple[str, Source] | None:
    found = r.header(key)
    if found is None:
        return None
    value = found[0]
    return (", ".join(map(str, value)) if isinstance(value, list) else str(value)), found[1]


def suggest(key: str, reading: Reading) -> Suggestion | None:
    """The prefilled answer of an item; None where only a person can judge."""
    function = SUGGESTIONS.get(key)
    return function(reading) if function else None
