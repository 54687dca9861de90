"""What the Hub says about a model, computed from its files: card, config, safetensors header."""

import json
from typing import Any

import yaml

from tests.sample_hub.store import Entry, EntryNotFound, SampleHubStore

_TASK_OF_ARCHITECTURE = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForMaskedLM": "fill-mask",
    "ForCausalLM": "text-generation",
}


def model_info(
    store: SampleHubStore, model_id: str, sha: str, *, blobs: bool = False, security: bool = False
) -> dict[str, Any]:
    """The JSON of GET /api/models/{model_id}/revision/{sha}.

    `blobs` adds sizes and hashes to siblings, `security` the scan summary. Raises RepoNotFound.
    """
    meta = store.meta(model_id)
    files = [entry for entry in store.tree(model_id, sha) if not entry.is_dir]
    card = card_data(_read(store, model_id, sha, "README.md"))
    config = _config(store, model_id, sha)
    library = _library(card, config)
    info: dict[str, Any] = {
        "_id": meta.internal_id,
        "id": model_id,
        "modelId": model_id,
        "author": model_id.split("/")[0],
        "sha": sha,
        "createdAt": meta.created_at,
        "lastModified": store.log(model_id, sha, limit=1)[0].date,
        "private": meta.private,
        "gated": meta.gated,
        "disabled": meta.disabled,
        "downloads": meta.downloads,
        "likes": meta.likes,
        "tags": _tags(card, config, files, library),
        "cardData": card,
        "model-index": (card or {}).get("model-index"),
        "config": config,
        "siblings": [_sibling(entry, blobs=blobs) for entry in files],
        "spaces": [],
        # The real figure counts the whole history; of one commit is enough here.
        "usedStorage": sum(entry.size for entry in files),
    }
    if task := _task(card, config):
        info["pipeline_tag"] = task
    if library:
        info["library_name"] = library
    if parameters := _parameters(store, model_id, sha):
        info["safetensors"] = parameters
    if security:
        bad = [{"path": path, "level": level} for path, level in meta.security.items() if level != "safe"]
        info["securityRepoStatus"] = {"scansDone": True, "filesWithIssues": bad}
    return info


def card_data(readme: bytes | None) -> dict[str, Any] | None:
    """The YAML front matter of a README, None when there is none or no mapping. Dates become strings."""
    text = (readme or b"").decode(errors="replace").replace("\r\n", "\n")
    if not text.startswith("---\n") or "\n---" not in text[3:]:
        return None
    try:
        front = yaml.safe_load(text[4:].split("\n---", 1)[0])
        return json.loads(json.dumps(front, default=str)) if isinstance(front, dict) else None
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        return None


def _read(store: SampleHubStore, model_id: str, sha: str, path: str) -> bytes | None:
    try:
        return store.read_file(model_id, sha, path)
    except EntryNotFound:
        return None


def _read_json(store: SampleHubStore, model_id: str, sha: str, path: str) -> dict[str, Any]:
    try:
        value = json.loads(_read(store, model_id, sha, path) or b"{}")
        json.dumps(value)  # what can be read may still be too deep to be written
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _config(store: SampleHubStore, model_id: str, sha: str) -> dict[str, Any] | None:
    config = _read_json(store, model_id, sha, "config.json")
    kept: dict[str, Any] = {
        key: config[key] for key in ("architectures", "model_type", "auto_map") if key in config
    }
    if not kept:
        return None
    tokenizer = _read_json(store, model_id, sha, "tokenizer_config.json")
    special = ("bos_token", "cls_token", "eos_token", "mask_token", "pad_token", "sep_token", "unk_token")
    return kept | {"tokenizer_config": {key: tokenizer[key] for key in special if key in tokenizer}}


def _library(card: dict[str, Any] | None, config: dict[str, Any] | None) -> str | None:
    return (card or {}).get("library_name") or ("transformers" if (config or {}).get("model_type") else None)


def _task(card: dict[str, Any] | None, config: dict[str, Any] | None) -> str | None:
    if named := (card or {}).get("pipeline_tag"):
        return str(named)
    for architecture in (config or {}).get("architectures", []):
        for ending, task in _TASK_OF_ARCHITECTURE.items():
            if str(architecture).endswith(ending):
                return task
    return None


def _tags(
    card: dict[str, Any] | None, config: dict[str, Any] | None, files: list[Entry], library: str | None
) -> list[str]:
    card = card or {}

    def several(key: str) -> list[str]:
        value = card.get(key) or []
        return [str(item) for item in value] if isinstance(value, list) else [str(value)]

    tags = [library] if library else []
    tags += ["safetensors"] if any(entry.path.endswith(".safetensors") for entry in files) else []
    tags += ["pytorch"] if any(entry.path.endswith("pytorch_model.bin") for entry in files) else []
    tags += [str((config or {})["model_type"])] if (config or {}).get("model_type") else []
    tags += [task] if (task := _task(card, config)) else []
    tags += several("tags") + several("language")
    tags += [f"base_model:{base}" for base in several("base_model")] + [
        f"dataset:{d}" for d in several("datasets")
    ]
    tags += [f"license:{licence}" for licence in several("license")] + ["region:us"]
    return list(dict.fromkeys(tags))


def _sibling(entry: Entry, *, blobs: bool) -> dict[str, Any]:
    sibling: dict[str, Any] = {"rfilename": entry.path}
    if blobs:
        sibling |= {"size": entry.size, "blobId": entry.oid}
        if entry.lfs:
            lfs = entry.lfs
            sibling["lfs"] = {"sha256": lfs.sha256, "size": lfs.size, "pointerSize": lfs.pointer_size}
    return sibling


def _parameters(store: SampleHubStore, model_id: str, sha: str) -> dict[str, Any] | None:
    """{"parameters": {"F32": n}, "total": n} from the header of model.safetensors, None when unreadable."""
    try:
        content = store.read_file(model_id, sha, "model.safetensors")
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        counts: dict[str, int] = {}
        for name, tensor in header.items():
            if name != "__metadata__":
                elements = 1
                for length in tensor["shape"]:
                    elements *= length
                counts[tensor["dtype"]] = counts.get(tensor["dtype"], 0) + elements
    except (EntryNotFound, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return {"parameters": counts, "total": sum(counts.values())}
