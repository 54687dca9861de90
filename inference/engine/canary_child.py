"""Computes the reference's answers for one snapshot: `python -m inference.engine.canary_child`, the
configuration on stdin. Exit 3 with {"code", "message"} when the snapshot cannot be loaded."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from inference.engine.canary import keep_reference
from inference.engine.contract import read_contract
from inference.engine.errors import ModelLoadError
from inference.engine.types import ClassifierConfig


def main() -> int:
    fields = json.loads(sys.stdin.read())
    fields |= {"snapshot": Path(fields["snapshot"]), "canaries": Path(fields["canaries"])}
    config = ClassifierConfig(**fields)
    try:
        keep_reference(config, read_contract(config))
    except ModelLoadError as exc:
        print(json.dumps({"code": exc.code, "message": str(exc)}))
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
