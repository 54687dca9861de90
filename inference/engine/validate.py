"""Is this a list of texts? Asked before the tokenizer sees it, so that no library error can quote a text."""

from __future__ import annotations

from collections.abc import Sequence

from inference.engine.errors import InferenceInputError
from inference.engine.tasks import Input

MAX_CHARS = 100_000
_PAIRS = (tuple, list)


def check_texts(
    texts: Sequence[object], *, max_inputs: int | None = None, max_chars: int = MAX_CHARS
) -> list[str]:
    """The texts, when each is a non-blank string of at most `max_chars` characters that UTF-8 can encode.

    Raises InferenceInputError: no_inputs, too_many_inputs, not_a_string, blank_input, input_too_large,
    bad_unicode.
    """
    if isinstance(texts, str):
        raise InferenceInputError("texts must be a list of strings, not one string.", code="not_a_list")
    if not texts:
        raise InferenceInputError("texts must not be empty.", code="no_inputs")
    if max_inputs is not None and len(texts) > max_inputs:
        raise InferenceInputError(
            f"{len(texts)} inputs are more than the {max_inputs} that one request may hold.",
            code="too_many_inputs",
            details={"inputs": len(texts), "limit": max_inputs},
        )
    return [_check_text(text, index, max_chars) for index, text in enumerate(texts)]


def check_inputs(
    inputs: Sequence[object], *, max_inputs: int | None = None, max_chars: int = MAX_CHARS
) -> list[Input]:
    """As `check_texts`, where an input may also be a pair of texts. Raises bad_pair besides."""
    if isinstance(inputs, str) or not any([isinstance(one, _PAIRS) for one in inputs]):
        return check_texts(inputs, max_inputs=max_inputs, max_chars=max_chars)  # type: ignore[return-value]
    if max_inputs is not None:
        check_texts(["x"] * len(inputs), max_inputs=max_inputs)
    return [_check_input(one, index, max_chars) for index, one in enumerate(inputs)]


def _check_input(one: object, index: int, max_chars: int) -> Input:
    if not isinstance(one, tuple | list):
        return _check_text(one, index, max_chars)
    if len(one) != 2:
        raise InferenceInputError(
            f"Input {index} is a list of {len(one)}; a pair has two texts.",
            code="bad_pair",
            details={"index": index},
        )
    return _check_text(one[0], index, max_chars), _check_text(one[1], index, max_chars)


def _check_text(text: object, index: int, max_chars: int) -> str:
    if not isinstance(text, str):
        raise InferenceInputError(
            f"Input {index} is not a string; each text must be a non-empty string.",
            code="not_a_string",
            details={"index": index},
        )
    # Length before content: strip() and encode() copy, and a copy of an unbounded text is what the limit is
    # against.
    if len(text) > max_chars:
        raise InferenceInputError(
            f"Input {index} has {len(text)} characters; the limit is {max_chars}.",
            code="input_too_large",
            details={"index": index, "chars": len(text), "limit": max_chars},
        )
    if not text.strip():
        raise InferenceInputError(
            f"Input {index} is blank; each text must be a non-empty string.",
            code="blank_input",
            details={"index": index},
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        # `from None`: the codec's error carries the whole text.
        raise InferenceInputError(
            f"Input {index} holds half a character (a lone surrogate) and is not valid Unicode.",
            code="bad_unicode",
            details={"index": index},
        ) from None
    return text


def check_top_k(top_k: int | None) -> None:
    """Raise InferenceInputError unless `top_k` is None or 1 to 100."""
    if top_k is not None and not 1 <= top_k <= 100:
        raise InferenceInputError("top_k must be between 1 and 100.", code="bad_top_k")


def check_fits(truncated: Sequence[bool], max_length: int) -> None:
    """Raise InferenceInputError (input_too_long) naming the first text that had to be cut."""
    if any(truncated):
        index = list(truncated).index(True)
        raise InferenceInputError(
            f"Input {index} has more than {max_length} tokens; shorten it or allow truncation.",
            code="input_too_long",
            details={"index": index, "limit": max_length},
        )
