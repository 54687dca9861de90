"""Names that look like somebody else's: an organisation that reads like a known one and is not it."""

from __future__ import annotations

import unicodedata

from registry.inspection.findings import Inspection

KNOWN_ORGANISATIONS: tuple[str, ...] = (
    "01-ai", "ai21labs", "allenai", "amazon", "answerdotai", "anthropic", "apple", "BAAI", "baidu", "bigcode",
    "bigscience", "ByteDance", "cardiffnlp", "CohereLabs", "CohereForAI", "coqui", "cross-encoder", "databricks",
    "dbmdz", "deepmind", "deepseek-ai", "distilbert", "EleutherAI", "facebook", "FacebookAI",
    "google", "google-bert", "google-t5", "helsinki-nlp", "huggingface", "HuggingFaceH4", "HuggingFaceTB", "ibm",
    "ibm-granite", "intel", "intfloat", "jinaai", "kakaobrain", "laion", "lmsys", "meta-llama", "microsoft",
    "mistralai", "mixedbread-ai", "MiniMaxAI", "moonshotai", "naver", "nomic-ai", "NousResearch", "nvidia", "openai",
    "openai-community", "openbmb", "pyannote", "Qwen", "runwayml", "Salesforce", "sentence-transformers", "snowflake",
    "speechbrain", "stabilityai", "stepfun-ai", "tencent", "THUDM", "tiiuae", "togethercomputer", "unsloth", "vinai",
    "VietAI", "uitnlp", "xai-org", "xlnet", "zai-org",
)  # fmt: skip
_SAME_LOOK = str.maketrans(
    {
        "0": "o", "1": "l", "i": "l", "|": "l", "5": "s", "3": "e", "$": "s", "@": "a",
        "а": "a", "в": "b", "с": "c", "ԁ": "d", "е": "e", "ԍ": "g", "һ": "h", "і": "l", "ј": "j", "к": "k", "ӏ": "l",
        "м": "m", "н": "h", "о": "o", "р": "p", "ԛ": "q", "ѕ": "s", "т": "t", "у": "y", "ԝ": "w", "х": "x", "ь": "b",
        "α": "a", "β": "b", "ε": "e", "η": "n", "ι": "l", "κ": "k", "ν": "v", "ο": "o", "ρ": "p", "τ": "t", "υ": "u",
        "χ": "x", "ω": "w", "ı": "l", "ɡ": "g", "ɑ": "a",
    }
)  # fmt: skip
_IGNORED = str.maketrans("", "", "-_. ")


def skeleton(name: str) -> str:
    """What a hasty eye sees: no accents, look-alikes folded, rn as m, vv as w, no separators."""
    folded = unicodedata.normalize("NFKD", name).casefold()
    plain = "".join(c for c in folded if not unicodedata.combining(c) and unicodedata.category(c) != "Cf")
    seen = plain.translate(_SAME_LOOK).translate(_IGNORED)
    return seen.replace("rn", "m").replace("vv", "w").replace("cl", "d")


def resembles(model_id: str) -> str:
    """The known organisation that the owner of `model_id` looks like without being it, "" for none."""
    owner = model_id.split("/", 1)[0]
    if owner.casefold() in {known.casefold() for known in KNOWN_ORGANISATIONS}:
        return ""  # the Hub's organisation names do not differ by case alone
    seen = skeleton(owner)
    for known in KNOWN_ORGANISATIONS:
        if seen == skeleton(known):
            return known
    for known in KNOWN_ORGANISATIONS:
        if len(known) >= 6 and _one_edit(seen, skeleton(known)):
            return known
    return ""


def _one_edit(one: str, other: str) -> bool:
    """One letter added, dropped, changed, or two neighbours swapped."""
    if abs(len(one) - len(other)) > 1:
        return False
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    a, b = one[start:], other[start:]
    return (
        a[1:] == b[1:] or a[1:] == b or a == b[1:] or (a[:2] == b[:2][::-1] and a[2:] == b[2:] and len(a) > 1)
    )


def warning(model_id: str) -> str:
    """The sentence for people, "" when the name is fine."""
    known = resembles(model_id)
    owner = model_id.split("/", 1)[0]
    if known:
        return (
            f"The owner {owner!r} looks like {known!r} and is somebody else. Compare the address letter by letter with "
            "the one that you were given."
        )
    if any(ord(c) > 127 for c in model_id):
        return "This name has letters outside the Hub's alphabet, which may imitate other ones."
    return ""


def inspect_name(model_id: str) -> Inspection:
    result = Inspection(facts={"resembles": resembles(model_id)})
    sentence = warning(model_id)
    if sentence:
        result.warn(
            "", sentence, "Many copies of known models are published under such names to be taken by mistake."
        )
    return result
