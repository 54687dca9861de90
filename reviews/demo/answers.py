"""What a careful reviewer writes to the eight items, each answer resting on a fact of this very revision."""

from __future__ import annotations

from typing import Any

Answers = dict[str, dict[str, str]]


def answers_for(revision: dict[str, Any], evaluation: dict[str, Any], benchmark: dict[str, Any]) -> Answers:
    """{item: {"verdict", "text"}} from the revision's card, facts and evidence as the API shows them. Raises KeyError."""
    card, facts = revision["card_data"], revision["facts"]
    languages = card["language"] if isinstance(card["language"], list) else [card["language"]]
    data_sets = card.get("datasets") or ["the set that its card describes"]
    labels = ", ".join(revision["label_mapping"].values())
    length = facts["config"]["max_position_embeddings"]
    parameters = facts["weights"]["parameters"] / 1e6
    texts = {
        "license": f"Header and LICENSE file agree on {card['license']}: internal and commercial use, with attribution.",
        "intended_use": f"{revision['pipeline_tag']} into {labels}: what the use case asks for, nothing out of its scope.",
        "limitations": "The card names short texts, irony and unseen domains; the use case is customer reviews only.",
        "language": f"{' and '.join(languages)} are declared, and the golden set has both, with diacritics kept.",
        "dataset": f"Trained on {', '.join(data_sets)}; written by hand, no personal data, no row of our golden set in it.",
        "metrics": f"On our own golden set: {evaluation['summary']}. Consistent with what the card reports.",
        "safety": f"Code audit: {revision['code_audit'].replace('_', ' ')}; safetensors only, a wrong label harms nobody.",
        "inference": (
            f"CPU is enough: {parameters:.1f} M parameters, at most {length} tokens, {benchmark['summary']}; no remote code."
        ),
    }
    return {key: {"verdict": "acceptable", "text": text} for key, text in texts.items()}
