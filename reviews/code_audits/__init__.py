"""The audit of a repository's code: one door to `Revision.code_audit`.

manifest  what has to be judged            states    which verdict counts for which file, and what follows from them
judging   verdicts, waivers and their end  sources   the text of a file, harmless and whole      rules  in the database
"""

from reviews.code_audits.states import auditors_of, blocking

__all__ = ["auditors_of", "blocking"]
