"""A local snapshot to the backend that serves it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from inference.engine.canary import check_against, reference_answers
from inference.engine.contract import Contract, read_contract
from inference.engine.device import pick_device
from inference.engine.errors import InferenceError, InferenceOutOfMemory, ModelLoadError, describe_error
from inference.engine.packed.architectures import NotPacked
from inference.engine.packed.backend import PackedBackend
from inference.engine.packed.load import load_packed
from inference.engine.reference import ReferenceBackend
from inference.engine.types import ClassifierConfig

logger = logging.getLogger(__name__)

LoadedBackend = PackedBackend | ReferenceBackend


def load_backend(config: ClassifierConfig) -> LoadedBackend:
    """The backend for the snapshot, on the best device, in evaluation mode.

    The packed encoder where its architecture is known and it answers the canary set as transformers does;
    the reference elsewhere. Which one it is stands in `variant` and in the log. A revision for which somebody
    chose the packed backend or a lower precision gets that or nothing. Never fetches, never runs code of the
    snapshot, never reads pickles. Raises ModelLoadError: those of `read_contract`, missing_weights,
    no_pad_token, canary_failed, not_packed, load_failed.
    """
    contract = read_contract(config)
    backend, reason = _packed(config, contract)
    if backend is None:
        if config.backend == "packed" or config.precision != "fp32":
            raise ModelLoadError(f"The packed encoder cannot run this model: {reason}.", code="not_packed")
        backend = _reference(config, contract)
    logger.info(
        "model_loaded",
        extra={
            "model_id": config.model_id,
            "commit_sha": config.commit_sha,
            "variant": str(backend.variant),
            "reason": reason,
            "max_length": backend.max_length,
        },
    )
    return backend


def load_tokenizer(snapshot: Path) -> Any:
    """The snapshot's tokenizer as transformers has it. Raises ModelLoadError (load_failed)."""
    from inference.engine.load_reference import load_tokenizer as load

    return load(snapshot)


def _reference(config: ClassifierConfig, contract: Contract) -> ReferenceBackend:
    from inference.engine.load_reference import load_reference

    return load_reference(config, contract, pick_device())


def _packed(config: ClassifierConfig, contract: Contract) -> tuple[LoadedBackend | None, str]:
    """The packed backend when it may serve, else None and why."""
    if config.backend == "reference":
        return None, "the reference was asked for"
    try:
        backend = load_packed(config, contract, pick_device())
    except NotPacked as exc:
        return None, str(exc)
    except Exception as exc:
        # A file that cannot be read or tensors that do not fit: the reference says what is wrong with it.
        logger.warning("packed_load_failed", extra={"error": describe_error(exc)})
        return None, f"loading failed ({type(exc).__name__})"
    try:
        worst = check_against(backend, reference_answers(config, contract), config.precision)
    except InferenceOutOfMemory as exc:
        raise ModelLoadError("The canary ran out of memory.", code="out_of_memory") from exc
    except InferenceError as exc:
        # NaN, say. Not the packed encoder's fault when the reference does the same: it decides.
        backend.close()
        return None, f"the canary failed ({type(exc).__name__})"
    except ModelLoadError as exc:
        backend.close()
        if exc.code != "canary_failed" or config.backend == "packed" or config.precision != "fp32":
            raise
        logger.error("packed_refused", extra={"model_id": config.model_id, "reason": str(exc)})
        return None, str(exc).rstrip(".")
    return backend, f"agrees with the reference within {worst:.1g}"
