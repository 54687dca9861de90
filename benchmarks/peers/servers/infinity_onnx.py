"""infinity-emb with optimum and ONNX Runtime: the fastest peer measured.

Three work-arounds, without which it does not start: transformers 4 does not read the tokenizer class of transformers 5; it
hands optimum an absolute path of the ONNX file (refused); and its classifier never truncates, so that its own warm-up text
overruns the position table.
"""

import argparse
import json
import sys
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--model")
parser.add_argument("--port")
options = parser.parse_args()

model = Path(options.model)
folder = model.parent / f"{model.name}-onnx"
if not (folder / "model.onnx").exists():
    from optimum.onnxruntime import ORTModelForSequenceClassification
    from transformers import PreTrainedTokenizerFast

    # transformers 4 does not know the tokenizer class that transformers 5 writes down.
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(model / "tokenizer.json"), model_max_length=128, **special
    )
    exported = ORTModelForSequenceClassification.from_pretrained(options.model, export=True)
    tokenizer.save_pretrained(folder)
    exported.save_pretrained(folder)
    # Labels at their default are not written down, and are read as "one label: a reranker".
    config = json.loads((folder / "config.json").read_text())
    config |= {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}
    (folder / "config.json").write_text(json.dumps(config))

from infinity_emb.transformer.classifier import optimum as classifier  # noqa: E402

original = classifier.get_onnx_files
classifier.get_onnx_files = lambda **words: Path(original(**words).name)
make = classifier.pipeline


def truncating(*positional, **words):
    inner = make(*positional, **words)
    return lambda texts, **more: inner(texts, truncation=True, max_length=128, **more)


classifier.pipeline = truncating

sys.argv = [
    "infinity_emb", "v2", "--model-id", str(folder), "--served-model-name", "distil", "--engine", "optimum",
    "--device", "cpu", "--port", options.port, "--host", "127.0.0.1", "--batch-size", "32", "--url-prefix", "",
    "--no-model-warmup", "--log-level", "warning",
]  # fmt: skip
from infinity_emb.cli import cli  # noqa: E402

cli()
