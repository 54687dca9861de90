"""How a careful reviewer goes through the ten sections: accepts what is suggested with its source, judges the rest."""

from __future__ import annotations

from typing import Any

Answers = dict[str, dict[str, Any]]

# What no file and no run can say. The words rest on the use case and on figures of this very revision.
JUDGED: dict[str, tuple[Any, str]] = {
    "domain_match": (
        "close",
        "Customer reviews of shops, as ours are; the golden set is drawn from our own.",
    ),
    "license_decision": ("approved", "Permissive, and the notice is kept with every copy."),
    "metric_relevance": (None, "Recall of `negative`: an unhappy customer who is not found is not answered."),
    "missing_metrics": (None, "Calibration; it is not needed while no threshold decides alone."),
    "production_use": ("yes", "For sorting reviews, which people then answer."),
    "required_conditions": (None, "None beyond the use case as it is stated."),
    "final_decision": (
        "approved",
        "Card, code and figures fit the use case; the remaining risk is a wrong order of answers.",
    ),
}


def answers_for(
    checklist: list[dict[str, Any]],
    suggestions: dict[str, Any],
    evaluation: dict[str, Any],
    carried: set[str],
) -> Answers:
    """{item: what is sent}, for every item that is asked: what was carried over stands.

    Raises KeyError for an item that nothing suggests and nobody judges.
    """
    found: Answers = {}
    for item in checklist:
        key = item["key"]
        if key in carried:
            continue
        if key in suggestions:
            found[key] = {"accept": suggestions[key]["sha256"]}
            continue
        value, text = (None, _monitoring(evaluation)) if key == "monitoring" else JUDGED[key]
        found[key] = {"verdict": "acceptable", "value": value, "text": text}
    if "rollback" not in carried and suggestions.get("rollback", {}).get("sources") == []:
        # The first release of a model has nothing to go back to: that is a plan, too, when it is written down.
        text = "Suspend the channel; until then reviews are answered in the order they come in."
        found["rollback"] = {"verdict": "acceptable", "value": None, "text": text}
    return found


def _monitoring(evaluation: dict[str, Any]) -> str:
    accuracy = evaluation["data"]["accuracy"]
    return f"Error rate above 1 %, p95, and the share of each label; {accuracy:.3f} accuracy is the line to hold."
