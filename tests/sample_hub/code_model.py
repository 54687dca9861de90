"""A sample repository with code of its own (`auto_map`): harmless, flagged in one place, and never executed by Assay."""

import json
from collections.abc import Mapping

CODE_MODEL_ID = "acme/sentiment-remote-code"
CODE_VARIANTS = ("code-1", "code-2")
_AUTO_MAP = {
    "AutoConfig": "configuration_mood.MoodConfig",
    "AutoModelForSequenceClassification": "modeling_mood.MoodModel",
}
_CONFIGURATION = b'''"""The configuration of the mood model."""

from transformers import BertConfig


class MoodConfig(BertConfig):
    """BERT's, with a temperature for the scores."""

    def __init__(self, temperature: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        self.temperature = temperature
'''
_MODELING = b'''"""The mood model: BERT with scaled scores."""

from transformers import BertForSequenceClassification

from .configuration_mood import MoodConfig
from .scaling import scaled


class MoodModel(BertForSequenceClassification):
    config_class = MoodConfig

    def forward(self, *args, **kwargs):
        output = super().forward(*args, **kwargs)
        output.logits = scaled(output.logits, self.config.temperature)
        return output
'''
_SCALING = b'''"""How scores are scaled."""

import os

# Read once, to compare runs: MOOD_DEBUG=1 prints nothing and changes nothing.
DEBUG = os.environ.get("MOOD_DEBUG", "") == "1"


def scaled(logits, temperature):
    """Divides scores by a temperature."""
    return logits / temperature
'''


def code_variants(model: Mapping[str, bytes]) -> dict[str, dict[str, bytes]]:
    """The two commits: `model` with code, then one helper file changed and nothing else."""
    config = json.loads(model["config.json"]) | {"auto_map": _AUTO_MAP}
    first = dict(model) | {
        "config.json": json.dumps(config, indent=2).encode(),
        "configuration_mood.py": _CONFIGURATION,
        "modeling_mood.py": _MODELING,
        "scaling.py": _SCALING,
    }
    changed = _SCALING.replace(b"logits / temperature", b"logits / max(temperature, 1e-3)")
    return {"code-1": first, "code-2": first | {"scaling.py": changed}}
