"""What runs beside the requests: poll the manifest, load, report, check."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from inference.engine.errors import describe_error
from inference.server.errors import ControlRefused, ControlUnavailable, ManifestError
from inference.server.files import read_json, write_json
from inference.server.manifest import parse_manifest
from inference.server.state import HostState

logger = logging.getLogger(__name__)

MANIFEST_FILE = "manifest.json"


def start_background(state: HostState) -> None:
    """Restore the last manifest and start the loops."""
    restore_manifest(state)
    for name, loop in (
        ("poll", poll_manifest),
        ("load", load_models),
        ("report", report_status),
        ("check", check_models),
    ):
        state.tasks.append(asyncio.create_task(loop(state), name=name))


async def stop_background(state: HostState) -> None:
    """End the loops, save what a restart needs, close everything."""
    for task in state.tasks:
        task.cancel()
    await asyncio.gather(*state.tasks, return_exceptions=True)
    with suppress(OSError):
        await state.tokens.save()
    await state.fleet.close()
    await state.control.close()
    state.downloads.close()
    state.pool.shutdown(wait=False)


def restore_manifest(state: HostState) -> None:
    """Serve what was served before the restart; the first poll corrects it if the control plane answers."""
    stored = read_json(state.settings.cache / MANIFEST_FILE)
    if stored is None:
        return
    try:
        state.fleet.apply(parse_manifest(stored))
    except ManifestError as exc:
        logger.warning("stored_manifest_unusable", extra={"reason": str(exc)})
        return
    logger.info("manifest_restored", extra={"models": len(stored["models"])})


async def poll_manifest(state: HostState) -> None:
    """Follow the control plane's manifest. A wrong or missing one changes nothing."""
    etag: str | None = None
    trouble = ""

    async def poll() -> None:
        nonlocal etag, trouble
        try:
            answer = await state.control.manifest(etag)
            if answer is not None:
                raw, etag = answer
                manifest = parse_manifest(raw)
                if manifest != state.fleet.manifest:
                    logger.info(
                        "manifest_changed",
                        extra={"generation": manifest.generation, "models": len(manifest.models)},
                    )
                    state.fleet.apply(manifest)
                    with suppress(OSError):  # A full disk costs the memory of a restart, not the service.
                        write_json(state.settings.cache / MANIFEST_FILE, raw)
            now_wrong = ""
        except (ControlUnavailable, ControlRefused, ManifestError) as exc:
            if isinstance(exc, ManifestError):
                etag = None
            now_wrong = f"{type(exc).__name__}: {exc}"
        if now_wrong != trouble:
            # Once for each change: a control plane that is away for an hour is one line, not 1,800.
            logger.warning("manifest_poll", extra={"trouble": now_wrong or "over"})
            trouble = now_wrong

    await _forever(poll, state.settings.manifest_poll_s)


async def load_models(state: HostState) -> None:
    await _forever(state.fleet.run, 1.0)


async def check_models(state: HostState) -> None:
    await _forever(state.fleet.check, state.settings.check_s)


async def report_status(state: HostState) -> None:
    """Tell the control plane after each change and every `report_s`; a failed report is made up by the
    next."""

    async def report() -> None:
        state.fleet.changed.clear()
        manifest = state.fleet.manifest
        if manifest is not None:
            with suppress(ControlUnavailable, ControlRefused):
                await state.control.report(
                    {
                        "replica": state.replica,
                        "generation": manifest.generation,
                        "models": state.fleet.statuses(),
                    }
                )
        with suppress(OSError):
            await state.tokens.save()
        with suppress(TimeoutError):
            async with asyncio.timeout(state.settings.report_s):
                await state.fleet.changed.wait()

    await _forever(report, 0.05)


async def _forever(step: Callable[[], Awaitable[None]], pause_s: float) -> None:
    """Repeat the step. Whatever it throws is logged and it is tried again: a loop that dies silently is how
    a replica serves yesterday's manifest for a month."""
    while True:
        try:
            await step()
        except Exception as exc:
            logger.error("background_step_failed", extra={"error": describe_error(exc)})
            await asyncio.sleep(1)
        await asyncio.sleep(pause_s)
