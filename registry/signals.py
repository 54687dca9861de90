"""How an upper floor hears of the ground floor without being imported by it. Receivers run in the sender's transaction."""

from django.dispatch import Signal

job_started = Signal()  # sender: Job class; job
job_finished = (
    Signal()
)  # sender: Job class; job, revision (Revision | None); after success, failure, cancel, time-out
