"""A JSON schema of KServe's InferenceService, read from the tables of its Python SDK without importing it.

    pip download --no-deps -d FOLDER kserve==0.21.0
    python -m tools.kserve_schema FOLDER/kserve-0.21.0-py3-none-any.whl > tests/house/kserve.schema.json

The SDK's classes are generated from KServe's OpenAPI document: `openapi_types` says what each attribute is, `attribute_map` how
it is spelt, and a setter refuses None where the field is required. Kubernetes' own types become references into the schemas of
kubernetes-validate (`_definitions.json`), which the test resolves.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

ROOT_TYPE = "V1beta1InferenceService"
PLAIN: dict[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "object": {},
}
_LIST = re.compile(r"list\[(.+)\]")
_DICT = re.compile(r"dict\(str, (.+)\)")
_LONG_NAME = re.compile(r"K8sIoApi([A-Z][a-z]+)(V\d)(\w+)")
# As kubernetes-validate names its file of Kubernetes' own types.
DEFINITIONS = "https://kubernetes.io/api/_definitions.json#/$defs/"
META = {"V1ObjectMeta", "V1LabelSelector"}
_KUBERNETES = re.compile(r"V1([A-Z]\w*)")
# Hand-made types of Kubernetes that are not objects.
OTHERS: dict[str, dict[str, Any]] = {
    "ResourceQuantity": {"type": ["string", "number"]},
    "IntstrIntOrString": {"type": ["string", "integer"]},
    "V1beta1MetricQuantity": {"type": ["string", "number"]},
}


class UnknownType(ValueError):
    """A type of the SDK that neither it nor Kubernetes defines."""


def literals(tree: ast.AST, name: str) -> dict[str, str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == name for t in node.targets
        ):
            return dict(ast.literal_eval(node.value))
    return {}


def classes(wheel: Path) -> dict[str, dict[str, Any]]:
    """{class: its attributes' types, their spelling, and which are required}"""
    found: dict[str, dict[str, Any]] = {}
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if not name.startswith("kserve/models/"):
                continue
            source = archive.read(name).decode()
            for node in ast.parse(source).body:
                if isinstance(node, ast.ClassDef):
                    found[node.name] = {
                        "types": literals(node, "openapi_types"),
                        "spelt": literals(node, "attribute_map"),
                        "required": re.findall(r"Invalid value for `(\w+)`, must not be `None`", source),
                    }
    return found


def schema_of(kind: str, known: dict[str, dict[str, Any]], wanted: list[str]) -> dict[str, Any]:
    """The schema of one type's name; a class that it leads to is put on `wanted`. Raises UnknownType."""
    if kind in PLAIN or kind in OTHERS:
        return PLAIN.get(kind, {}) or OTHERS.get(kind, {})
    if inner := _LIST.fullmatch(kind):
        return {"type": "array", "items": schema_of(inner[1], known, wanted)}
    if inner := _DICT.fullmatch(kind):
        return {"type": "object", "additionalProperties": schema_of(inner[1], known, wanted)}
    if kind in known:
        wanted.append(kind)
        return {"$ref": f"#/definitions/{kind}"}
    if long := _LONG_NAME.fullmatch(kind):
        return {"$ref": f"{DEFINITIONS}io.k8s.api.{long[1].lower()}.{long[2].lower()}.{long[3]}"}
    if kind in META:
        return {"$ref": f"{DEFINITIONS}io.k8s.apimachinery.pkg.apis.meta.v1.{kind[2:]}"}
    if kubernetes := _KUBERNETES.fullmatch(kind):
        return {"$ref": f"{DEFINITIONS}io.k8s.api.core.v1.{kubernetes[1]}"}
    raise UnknownType(kind)


def build(wheel: Path) -> dict[str, Any]:
    known = classes(wheel)
    definitions: dict[str, Any] = {}
    wanted = [ROOT_TYPE]
    while wanted:
        kind = wanted.pop()
        if kind in definitions:
            continue
        about = known[kind]
        definitions[kind] = {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                spelt: schema_of(about["types"][name], known, wanted)
                for name, spelt in sorted(about["spelt"].items())
                # Written by the controller, never by us.
                if not (kind == ROOT_TYPE and name == "status")
            },
            **(
                {"required": sorted(about["spelt"][name] for name in about["required"])}
                if about["required"]
                else {}
            ),
        }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": f"Made by tools/kserve_schema.py from {wheel.name} (Apache-2.0).",
        "$ref": f"#/definitions/{ROOT_TYPE}",
        "definitions": dict(sorted(definitions.items())),
    }


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(json.dumps(build(Path(sys.argv[1])), indent=1, sort_keys=True))
