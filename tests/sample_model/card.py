"""The model card and licence notice of the sample classifier, filled with the figures that training measured.

`model_card(version, metrics, versions)` takes what `train.py` wrote to its metrics file, so no figure in the
card is typed by hand. The card holds nothing that differs between two runs (no duration, no date, no host
name): the sample Hub's commits must repeat.
"""

from collections.abc import Mapping
from typing import Any

import yaml

MODEL_ID = "acme/sentiment-vi-en"
DATASET_ID = "acme/shop-reviews-vi-en"
WIDGET = (
    "Giao hàng nhanh, đóng gói cẩn thận, mình rất hài lòng.",
    "The zip broke on the second day and nobody answered my mails.",
    "Mới nhận hàng nên chưa đánh giá được.",
)
RELEASE_NOTES = {
    "1.0.0": "First release: half of the training split, few epochs. Meant as a baseline to compare with.",
    "2.0.0": "Second release: the whole training split and more epochs. Same architecture, new vocabulary.",
}

LICENSE_TEXT = """SPDX-License-Identifier: Apache-2.0

Copyright 2026 The Assay authors

Licensed under the Apache License, Version 2.0 (the "License"); you may not use these files except in
compliance with the License. You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software distributed under the License is
distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
See the License for the specific language governing permissions and limitations under the License.
"""


def model_card(version: str, metrics: Mapping[str, Any], versions: Mapping[str, str]) -> str:
    """README.md of one release: front matter and body.

    `metrics` is the JSON of `train.py`; `versions` maps package name to version.
    Raises KeyError when a figure or the release's note is missing.
    """
    front = yaml.safe_dump(_front_matter(version, metrics), sort_keys=False, allow_unicode=True, width=110)
    return f"---\n{front}---\n\n{_body(version, metrics, versions)}"


def _front_matter(version: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    results = {
        "task": {"type": "text-classification", "name": "Text Classification"},
        "dataset": {"type": DATASET_ID, "name": "Shop reviews, Vietnamese and English", "split": "holdout"},
        "metrics": [
            {"type": "accuracy", "name": "Accuracy", "value": round(metrics["accuracy"], 4)},
            {"type": "f1", "name": "Macro F1", "value": round(metrics["macro_f1"], 4)},
        ],
    }
    return {
        "license": "apache-2.0",
        "language": ["vi", "en"],
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "tags": ["sentiment-analysis", "distilbert", "reviews", "vietnamese", "trained-from-scratch"],
        "datasets": [DATASET_ID],
        "metrics": ["accuracy", "f1"],
        "version": version,
        "widget": [{"text": text} for text in WIDGET],
        "model-index": [{"name": MODEL_ID.partition("/")[2], "results": [results]}],
    }


def _results(metrics: Mapping[str, Any]) -> str:
    """The result tables: overall, by label, by length, and the confusion matrix."""
    labels = list(metrics["per_class"])
    by_label = "\n".join(
        f"| {label} | {row['precision']:.3f} | {row['recall']:.3f} | {row['f1']:.3f} | {row['support']:.0f} |"
        for label, row in metrics["per_class"].items()
    )
    by_length = "\n".join(
        f"| {name} | {metrics['by_length'][key]['rows']} | {metrics['by_length'][key]['accuracy']:.3f} |"
        for key, name in (("short", "up to 8 words"), ("long", "more than 8 words"))
    )
    matrix = "\n".join(
        f"| {label} | " + " | ".join(str(count) for count in row) + " |"
        for label, row in zip(labels, metrics["confusion"], strict=True)
    )
    return f"""| Metric | Hold-out ({metrics["holdout_rows"]} rows) |
|---|---|
| Accuracy | {metrics["accuracy"]:.3f} |
| Macro F1 | {metrics["macro_f1"]:.3f} |

| Label | Precision | Recall | F1 | Rows |
|---|---|---|---|---|
{by_label}

| Length of the review | Rows | Accuracy |
|---|---|---|
{by_length}

Confusion matrix (row: written label, column: prediction):

| | {" | ".join(labels)} |
|---|{"---|" * len(labels)}
{matrix}"""


def _body(version: str, metrics: Mapping[str, Any], versions: Mapping[str, str]) -> str:
    settings = metrics["settings"]
    total_rows = metrics["train_rows"] + metrics["holdout_rows"]
    software = "\n".join(f"- {name} {number}" for name, number in versions.items())
    megabytes = metrics["parameters"] * 4 / 1e6
    # Half the width of the 95 % interval, normal approximation.
    margin = 1.96 * (metrics["accuracy"] * (1 - metrics["accuracy"]) / metrics["holdout_rows"]) ** 0.5
    return f"""# Model Card for {MODEL_ID}

A small classifier that reads one customer review in Vietnamese or English and answers `negative`, `neutral`
or `positive`. It was trained from random weights on {metrics["train_rows"]} short texts; it is a compact
baseline, not a general language model.

## Model Details

### Model Description

The model looks at one review and decides how the writer feels about what they bought or used. It is a
DistilBERT encoder with {settings["layers"]} layers of width {settings["dim"]} and a classification head,
together with its own WordPiece vocabulary of {metrics["vocabulary"]} entries. The tokenizer lower-cases and
keeps Vietnamese diacritics, because they carry meaning. No word segmentation is needed.

- **Developed by:** Acme text team
- **Funded by:** no outside funding
- **Shared by:** Acme text team
- **Model type:** text classification, encoder only
- **Language(s):** Vietnamese (`vi`), English (`en`)
- **License:** Apache-2.0 (see `LICENSE`)
- **Finetuned from model:** none, random initialisation with seed {settings["seed"]}
- **Version:** {version}. {RELEASE_NOTES[version]}

### Model Sources

- **Repository:** this repository; the training code is `tests/sample_model` of the Assay project

## Uses

### Direct Use

Sorting short reviews of shops, products, food, hotels, apps, courses and services by sentiment, for
example to count complaints per week or to show a team the unhappy messages first.

### Downstream Use

As one signal in a dashboard or in a queue that people read. The three labels are stable: index 0 is
`negative`, 1 is `neutral`, 2 is `positive`, and `config.json` holds the mapping in both directions. Map by
label name, not by index.

### Out-of-Scope Use

- Decisions about a person: hiring, credit, insurance, moderation penalties, performance of employees.
- Medical, legal, political or news text; the training data has none.
- Detection of toxicity, sarcasm, threats or self-harm.
- Languages other than Vietnamese and English, and texts that mix both inside one sentence.
- Any use without a person able to correct the result.

## Bias, Risks, and Limitations

- **Little data, and synthetic.** {metrics["train_rows"]} training texts in the voice of one writer. Words
  that they do not contain fall apart into fragments, and the model then guesses.
- **Confidence is not calibrated.** Small models trained to the end are too sure of themselves. Do not read
  0.99 as "right in 99 of 100 cases".
- **Contrast and negation.** "Good but slow" and "not bad" are in the data, yet rarer than plain praise and
  complaint. Sarcasm is absent: ironic praise is read as praise.
- **Neutral is narrow.** It mostly means "not tried yet", "average" or "as described". Questions and plain
  facts of another kind may land in any class.
- **Dialect and spelling.** Southern and northern everyday Vietnamese both occur, as do some texts without
  diacritics, but neither evenly. Heavy abbreviations and emoji are rare.
- **Names.** The texts hardly name any person, brand or place; behaviour on texts full of names is
  unknown. No test for bias between groups of people was made.
- **Length.** At most 128 tokens are read; what follows is cut off, and a verdict at the end is lost.

### Recommendations

Measure the model on your own labelled reviews before use, at least fifty per label and language. Keep a
rollback to the previous revision ready, pin the commit SHA, and watch the share of each label: a sudden
shift is more often a change of input or mapping than a change of customers.

## How to Get Started with the Model

```python
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

model_id = "{MODEL_ID}"
revision = "main"  # pin the full commit SHA in production

tokenizer = AutoTokenizer.from_pretrained(model_id, revision=revision)
model = AutoModelForSequenceClassification.from_pretrained(model_id, revision=revision, use_safetensors=True)
model.eval()

encoded = tokenizer(["{WIDGET[0]}"], padding=True, truncation=True, max_length=128, return_tensors="pt")
with torch.inference_mode():
    probabilities = torch.softmax(model(**encoded).logits, dim=-1)[0]
index = int(probabilities.argmax())
print(model.config.id2label[index], float(probabilities[index]))
```

## Training Details

### Training Data

`{DATASET_ID}` is the name of one CSV file (`text`, `label`) with {total_rows} reviews. It is kept beside the
training code and is not published as a dataset. The texts are **synthetic**: a language model wrote them one
by one for this project. No customer wrote them, and they hold no personal data. About sixty per cent are
Vietnamese and forty per cent English; the three labels are balanced. They cover delivery, clothes, phones
and other devices, food, hotels, apps, support, courses, furniture, cosmetics and repairs, in lengths from
one to fifty words. Each label was decided together with its text; nobody labelled the texts a second time,
so the agreement between annotators is unknown.

### Training Procedure

A seeded split (`train_test_split(test_size=0.15, seed=42)`) holds out {metrics["holdout_rows"]} rows. This
release was trained on {metrics["train_rows"]} of the remaining rows ({settings["rows"]:.0%}) with
`transformers.Trainer`. Hyperparameters were chosen on the hold-out, so its figures are slightly flattering.

#### Preprocessing

NFC normalisation, lower-casing, splitting at spaces and punctuation, WordPiece; `[CLS]` before, `[SEP]`
after; truncation at 128 tokens. The vocabulary was learnt from the training rows only. A training text has
{metrics["tokens_mean"]:.1f} tokens on average and {metrics["tokens_max"]} at most.

#### Training Hyperparameters

- **Training regime:** fp32
- **Optimizer:** AdamW, weight decay {settings["weight_decay"]}
- **Learning rate:** {settings["learning_rate"]}, linear decay after {settings["warmup_steps"]} warm-up steps
- **Batch size:** {settings["batch_size"]}
- **Epochs:** {settings["epochs"]}
- **Dropout:** {settings["dropout"]}
- **Seed:** {settings["seed"]}; deterministic kernels, one thread

#### Speeds, Sizes, Times

{metrics["parameters"]:,} parameters, {megabytes:.1f} MB of fp32 weights in `model.safetensors`.
Training takes well under a minute on one CPU core.

## Evaluation

### Testing Data, Factors & Metrics

#### Testing Data

The {metrics["holdout_rows"]} rows held out of the file described above, the same rows for every release. They
come from the same source as the training rows, so real reviews will be harder.

#### Factors

Label and length of the review. The rows carry no language column, so results by language were not
measured; this is a gap, not a finding that both languages work equally well.

#### Metrics

Accuracy, because the labels are balanced, and macro F1 (the unweighted mean of the three F1 scores), which
shows when one label is neglected. All figures were computed by the training run itself and written
into this card by a program.

### Results

{_results(metrics)}

#### Summary

{metrics["accuracy"]:.1%} of the held-out reviews are labelled as written. With {metrics["holdout_rows"]} rows
the uncertainty is about ±{100 * margin:.0f} percentage points (95 %), so small differences between releases
mean little.

## Environmental Impact

Not metered. Training uses less than one minute of one CPU core and no accelerator. At an assumed 15 W
for that core this is below 0.25 Wh, less than 1 g CO2eq on any grid. This is an estimate.

- **Hardware Type:** general purpose CPU, one thread
- **Hours used:** below 0.02
- **Cloud Provider:** none
- **Compute Region:** not recorded
- **Carbon Emitted:** below 1 g CO2eq (estimate)

## Technical Specifications

### Model Architecture and Objective

`DistilBertForSequenceClassification`: {settings["layers"]} transformer layers, {settings["heads"]} attention
heads, width {settings["dim"]}, feed-forward width {2 * settings["dim"]}, learnt positions up to 128,
cross-entropy over three labels.

### Compute Infrastructure

#### Hardware

One CPU core and less than 1 GB of memory (about 0.5 GB measured). No GPU was used in training or evaluation.

#### Software

{software}

## Inference Requirements

- **Runtime:** `transformers` 5 or newer with PyTorch; `trust_remote_code` is not needed.
- **Weights:** safetensors only; there is no pickle file in this repository.
- **Memory:** the weights take {megabytes:.1f} MB; the process is dominated by PyTorch itself.
- **CPU:** enough; a GPU is not required.
- **Maximum length:** 128 tokens including `[CLS]` and `[SEP]`.
- **Latency:** depends on the machine and is not stated here; measure it where the model will run.
- **Privacy:** runs locally, sends nothing. Do not log the texts; reviews may contain personal data.

## Citation

```bibtex
@misc{{acme_sentiment_vi_en,
  title  = {{A small Vietnamese and English review sentiment classifier}},
  author = {{Acme text team}},
  year   = {{2026}},
  note   = {{Version {version}}}
}}
```

## Glossary

- **Macro F1:** mean of the F1 scores of the labels, each label counting the same.
- **Hold-out:** rows kept away from training to measure on.

## Model Card Authors

Acme text team

## Model Card Contact

text-team@acme.example
"""
