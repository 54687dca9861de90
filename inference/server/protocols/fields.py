"""Reading a body's fields. A wrong one is a 422 that names the field, never its content."""

from __future__ import annotations

from typing import Any

from inference.engine import Input
from inference.server.errors import ApiError

_NONE: dict[str, tuple[Any, ...]] = {}


class Fields:
    """An object of the body. `known` are the fields of the protocol that we honour; `neutral` those that may
    be there only with a value that asks for nothing."""

    def __init__(
        self, value: Any, name: str, known: set[str], neutral: dict[str, tuple[Any, ...]] | None = None
    ) -> None:
        if not isinstance(value, dict):
            raise bad("not_an_object", f"{name} must be a JSON object.")
        neutral = neutral or _NONE
        if not value.keys() <= known and (unknown := value.keys() - known - neutral.keys()):
            # How many, not which: a key can be a text that slipped.
            known_words = ", ".join(sorted(known))
            raise bad(
                "unknown_field", f"{name} has {len(unknown)} unknown field(s); known are {known_words}."
            )
        for field, allowed in neutral.items():
            if field in value and not any(value[field] is a or value[field] == a for a in (None, *allowed)):
                raise bad("unsupported_field", f"{field} is not supported here; leave it out.")
        self._value = value
        self._name = name

    def __contains__(self, field: str) -> bool:
        return self._value.get(field) is not None

    def get(self, field: str) -> Any:
        """The value as it came; None when it is not there. Raises 422 missing_field through `need`."""
        return self._value.get(field)

    def need(self, field: str) -> Any:
        if self._value.get(field) is None:
            raise bad("missing_field", f"{self._name} lacks the field {field}.")
        return self._value[field]

    def flag(self, field: str, default: bool) -> bool:
        value = self._value.get(field)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise bad(f"bad_{field}", f"{field} must be true or false.")
        return value

    def whole(self, field: str, least: int, most: int) -> int | None:
        value = self._value.get(field)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise bad(f"bad_{field}", f"{field} must be a whole number from {least} to {most}.")
        return value

    def choice(self, field: str, choices: tuple[str, ...], default: str) -> str:
        value = self._value.get(field)
        if value is None:
            return default
        if value not in choices:
            raise bad(f"bad_{field}", f"{field} must be one of {', '.join(choices)}.")
        return str(value)

    def strings(self, field: str, *, most: int) -> list[str]:
        value = self.need(field)
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise bad("not_a_string", f"{field} must be a list of strings.")
        if not 1 <= len(value) <= most:
            raise bad("too_many_inputs", f"{field} must hold 1 to {most} strings.")
        return value


def texts_of(value: Any, name: str = "inputs") -> tuple[list[Any], bool]:
    """A text or a list of them as a list, and whether it was a list."""
    if isinstance(value, str):
        return [value], False
    if isinstance(value, list):
        return value, True
    raise bad("not_a_string", f"{name} must be a string or a list of strings.")


def pair_of(value: Any) -> Input:
    """One input of a classifier: "text", ["text", "second"] or {"text", "text_pair"}."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        fields = Fields(value, "An input", {"text", "text_pair"})
        text, second = fields.need("text"), fields.get("text_pair")
        if isinstance(text, str) and second is None:
            return text
        value = [text, second]
    if isinstance(value, list) and len(value) == 2 and all(isinstance(one, str) for one in value):
        return value[0], value[1]
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        return value[0]
    raise bad("bad_pair", "An input is a text or a pair of texts.")


def bad(code: str, message: str) -> ApiError:
    return ApiError(422, code, message)
