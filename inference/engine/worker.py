"""The queue of inputs, and the lanes that compute them: each takes the oldest that fit, the moment it is free."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

from inference.engine.backend import Backend, LoopBackend
from inference.engine.errors import EngineBusy, EngineClosed, EngineDeadline
from inference.engine.job import Job
from inference.engine.lanes import LOOK_AHEAD, Lane, LoopLane, Row, Taken, ThreadLane
from inference.engine.types import EngineLimits

_PADDED_ROWS, _PACKED_ROWS = 64, 8192


class Worker:
    """One queue of inputs, and a lane for each backend that computes.

    No timer: the moment a lane is free it takes what waits, so a lone request never waits for company and a
    crowd shares batches. Whatever happens in a batch, every job gets a result or an exception.
    """

    def __init__(
        self,
        backends: Sequence[Backend],
        limits: EngineLimits,
        name: str,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._limits = limits
        self.max_rows = limits.max_rows or (_PADDED_ROWS if backends[0].pads else _PACKED_ROWS)
        self._lock = threading.Lock()
        self._queue: deque[Row] = deque()
        # Lanes that take work, that wait for some, that compute, and the one of these that has all cores.
        self._ready: set[Lane] = set()
        self._idle: list[Lane] = []
        self._running: set[Lane] = set()
        self._wide: Lane | None = None
        self.giving = threading.Lock()
        # Closed by `close`, and when the last lane ends.
        self._open, self._begun = True, False
        self.served: Callable[[int, int, float, bool], None] = lambda *_: None
        self._lanes: list[Lane] = []
        for number, backend in enumerate(backends):
            lane_name = name if number == 0 else f"{name}-{number}"
            if loop is not None and hasattr(backend, "begin"):
                self._lanes.append(LoopLane(self, cast(LoopBackend, backend), limits, lane_name, loop))
            else:
                self._lanes.append(ThreadLane(self, backend, limits, lane_name))

    @property
    def alive(self) -> bool:
        return self._open and self._begun

    def start(self, prepare: Callable[[Backend], None]) -> None:
        """Start the first lane, run `prepare` in it, and wait for that; the others join when they are prepared, which would
        hold up the first answer.

        Raises what `prepare` raises in the first lane; one of the others that fails is done without.
        """
        first, *others = self._lanes
        first.start(prepare)
        try:
            first.started.result()
        except BaseException:
            self.close()
            raise
        self._begun = True
        for lane in others:
            lane.start(prepare)

    def put(self, job: Job) -> None:
        """Queue the job's inputs. Raises EngineClosed."""
        with self._lock:
            if not self._open:
                raise EngineClosed("The engine is closed.")
            self._queue.extend([(job, i) for i in range(len(job.encodings))])
            self._wake_one()

    def close(self, timeout_s: float | None = None) -> None:
        """Take no more, answer everything that waits, end the lanes."""
        with self._lock:
            self._open = False
            while self._idle:
                self._wake_one()
        for lane in self._lanes:
            lane.join(timeout_s)

    def take(self, lane: Lane) -> Taken | None:
        with self._lock:
            self._ready.add(lane)
            self._running.discard(lane)
            if self._wide is lane:
                self._wide = None
            # Two beside one that has all cores would wait for each other.
            rows, wide = self._share(lane) if self._wide is None else ([], False)
            if not rows and (self._open or self._wide is not None):
                self._idle.append(lane)
                return None
            if rows:
                self._running.add(lane)
                self._wide = lane if wide else None
            crowded = bool(self._queue)
            if crowded or not rows:
                # One lane is woken for each job: what this one leaves is the next one's.
                self._wake_one()
            return Taken(rows, crowded, wide)

    def _share(self, lane: Lane) -> tuple[list[Row], bool]:
        """What the lane gets of what waits, and whether with all cores: where there are fewer inputs than lanes, all
        cores on them are quicker than a core on each; of more each free lane gets its part."""
        ready = len(self._ready)
        if lane.widens and not self._running and (ready == 1 or len(self._queue) < ready):
            return self._take(lane.tokens), True
        free = ready - len(self._running)
        if free == 1:
            return self._take(lane.tokens), False
        waiting = sum(len(job.encodings[i]) for job, i in self._queue)
        return self._take(min(lane.tokens, -(-waiting // free))), False

    def _wake_one(self) -> None:
        """Of the lanes that wait the first, which may have all cores."""
        if self._idle:
            first = min(self._idle, key=self._lanes.index)
            self._idle.remove(first)
            first.wake()

    def _take(self, tokens: int) -> list[Row]:
        rows: list[Row] = []
        queue, room, most = self._queue, tokens, self.max_rows * LOOK_AHEAD
        while queue and len(rows) < most:
            job, i = queue[0]
            length = len(job.encodings[i])
            if rows and length > room:
                break
            queue.popleft()
            job.permit.release(1)
            if self._worth_running(job):
                rows.append((job, i))
                room -= length
        return rows

    def abandon(self) -> None:
        """A lane ended: when it was the last one, answer what is left."""
        with self._lock:
            self._ready -= {lane for lane in self._lanes if lane.ended.is_set()}
            if not all(lane.ended.is_set() for lane in self._lanes):
                return
            self._open = False
            left = list(self._queue)
            self._queue.clear()
        for job, _ in left:
            job.fail(EngineClosed("The engine has ended."))

    def _worth_running(self, job: Job) -> bool:
        """Whether the job still waits for an answer; one that is late has been told so."""
        if job.ended:
            return False
        if job.started_at is None:
            now = job.started_at = time.monotonic()
            if job.deadline is not None and now >= job.deadline:
                job.fail(EngineDeadline("The deadline passed while the request waited."))
            elif now - job.queued_at > self._limits.max_wait_s:
                job.fail(EngineBusy(f"The request waited longer than {self._limits.max_wait_s:g} s."))
        return not job.ended
