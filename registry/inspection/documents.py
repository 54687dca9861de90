"""Reading untrusted JSON and YAML within limits: size, depth, no duplicate keys, no aliases, no NaN."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from registry.exceptions import InvalidInput

MAX_JSON_BYTES = 64 * 1024 * 1024  # a large tokenizer.json is about 20 MB
MAX_YAML_BYTES = 64 * 1024
MAX_DEPTH = 32
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class BadDocument(InvalidInput):
    """The file is not what its name says, or breaks a limit."""

    code = "bad_document"


def _no_duplicates(path: str) -> Any:
    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in pairs:
            if key in result:
                raise BadDocument(
                    f"{path} has the key {key[:60]!r} twice; readers would disagree about its value."
                )
            result[key] = value
        return result

    return build


def _depth(value: Any) -> int:
    """Levels of containers, and one for what lies in the innermost. A large vocabulary has millions of leaves: not visited."""
    depth, level = 1, [value] if isinstance(value, dict | list) else []
    while level and depth <= MAX_DEPTH:
        below = []
        for item in level:
            for child in item.values() if isinstance(item, dict) else item:
                if isinstance(child, dict | list):
                    below.append(child)
        level = below
        depth += 1
    return depth


def read_json(path: str, data: bytes, *, limit: int = MAX_JSON_BYTES, any_value: bool = False) -> Any:
    """The object in a JSON file; with `any_value` also a list or a plain value. Raises BadDocument with the reason."""

    def refuse(constant: str) -> Any:
        raise BadDocument(f"{path} contains {constant}, which is not JSON.")

    if len(data) > limit:
        raise BadDocument(f"{path} has {len(data)} bytes; at most {limit} are read.")
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_no_duplicates(path), parse_constant=refuse
        )
    except UnicodeDecodeError as error:
        raise BadDocument(f"{path} is not UTF-8 text.") from error
    except (json.JSONDecodeError, RecursionError, ValueError) as error:
        raise BadDocument(f"{path} is not valid JSON: {str(error)[:200]}.") from error
    if not isinstance(value, dict) and not any_value:
        raise BadDocument(f"{path} holds {type(value).__name__}, not a JSON object.")
    if _depth(value) > MAX_DEPTH:
        raise BadDocument(f"{path} is nested deeper than {MAX_DEPTH} levels.")
    if b"\\u0000" in data:
        raise BadDocument(f"{path} contains a NUL character.")
    if _SURROGATE.search(data):  # a pair of them is a character, half a pair is not
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            raise BadDocument(f"{path} contains half of a character (a lone surrogate).") from error
    return value


class _PlainLoader(yaml.SafeLoader):
    """SafeLoader without aliases (an alias bomb is 100 bytes long) and without dates (JSON has none)."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise BadDocument("the YAML header uses aliases ('*name'), which are not accepted")
        return super().compose_node(parent, index)


_PlainLoader.yaml_implicit_resolvers = {
    key: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for key, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(path: str, text: str) -> dict[str, Any]:
    """The mapping in a YAML text, JSON types only. Raises BadDocument."""
    if len(text.encode("utf-8")) > MAX_YAML_BYTES:
        raise BadDocument(f"The YAML header of {path} is larger than {MAX_YAML_BYTES} bytes.")
    try:
        value = yaml.load(text, Loader=_PlainLoader)  # a SafeLoader with less
        json.dumps(value, allow_nan=False)
    except BadDocument as error:
        raise BadDocument(f"{path}: {error.message}.") from error
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        raise BadDocument(f"The YAML header of {path} cannot be read: {str(error)[:200]}.") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadDocument(f"The YAML header of {path} is not a list of `key: value` lines.")
    if _depth(value) > MAX_DEPTH:
        raise BadDocument(f"The YAML header of {path} is nested deeper than {MAX_DEPTH} levels.")
    return {str(key): item for key, item in value.items()}
