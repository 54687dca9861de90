"""Sentences that are kept in English and read in the reader's language: findings, titles and ends of jobs, suggestions.

They are written by workers, long before anybody looks. Each stands here as a pattern; `retold` recognises a kept sentence,
takes out what was filled in, and says it again. A test holds the list to the places where the sentences are made.
"""

from __future__ import annotations

import functools
import re

from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_noop as _

MAX_RETOLD = 2000  # characters; longer texts are people's or files'

KEPT: tuple[str, ...] = (
    # the revision as it was typed
    _("%(revision)s was read as the commit %(sha)s: the Hub writes commits in lower case."),
    _("%(revision)s was read as the commit %(commit)s: the Hub writes commits in lower case. The repository also has a "
      "%(kind)s of the name %(name)s, at %(sha)s; it was not followed, because it imitates a commit."),
    _("Compare the commit with the one you meant."),
    # the card
    _("The repository has no model card."),
    _("Ask the author for one; every item stays open."),
    _("The model card is larger than 1 MiB; only its first MiB was read."),
    _("The model card has no YAML header, so licence, language and data sets are not declared."),
    _("Read the text of the card for them, or ask the author to add the header."),
    _("The card declares no licence."),
    _("Without a licence nobody may use it; ask the author."),
    _("Treat every declared fact as missing."),
    # keys that lead to code
    _("The key %(full)s %(what)s."),
    _("The key %(full)s makes a loader fetch another repository: %(value)s."),
    _("It must be approved at one commit before this revision can be."),
    _("The key %(full)s chooses a built-in attention."),
    _("The key %(full)s runs code of another repository: %(reference)s."),
    _("That repository must be approved at one commit first; its code is not in the files that are reviewed "
      "here."),
    _("The key %(full)s runs a compute kernel of another repository: %(text)s."),
    _("Remove the key, or have that repository approved at one commit."),
    _("The key %(full)s runs code of another repository: %(text)s."),
    _("That repository must be approved at one commit first."),
    _("The tokenizer class %(value)s is not one that transformers knows, so it can only come from code."),
    _("Ask the author where the class is; without its code the tokenizer cannot be loaded."),
    # config.json
    _("No architecture is named, so a loader has to guess."),
    _("Two ids bear the same label."),
    _("Answers with this label cannot be told apart."),
    _("The labels are generic (LABEL_0 ...), so nobody can tell what an answer means."),
    _("Find the meaning in the card and write it into the review."),
    _("The label mapping changed: it was %(was)s at the last approved revision and is %(now)s here."),
    _("The same weights would now name other classes. Compare the golden-set results before you decide."),
    _("id2label and label2id contradict each other."),
    _("Ask the author which one is true."),
    # JSON and YAML
    _("%(path)s contains %(constant)s, which is not JSON."),
    _("%(path)s has %(size)s bytes; at most %(limit)s are read."),
    _("%(path)s holds %(name)s, not a JSON object."),
    _("%(path)s is nested deeper than %(max_depth)s levels."),
    _("%(path)s contains a NUL character."),
    _("The YAML header of %(path)s is larger than %(max_yaml_bytes)s bytes."),
    _("The YAML header of %(path)s is not a list of `key: value` lines."),
    _("The YAML header of %(path)s is nested deeper than %(max_depth)s levels."),
    _("%(path)s is not UTF-8 text."),
    _("%(path)s is not valid JSON: %(error)s."),
    _("The YAML header of %(path)s cannot be read: %(error)s."),
    _("%(path)s has the key %(key)s twice; readers would disagree about its value."),
    _("%(path)s contains half of a character (a lone surrogate)."),
    # formats
    _("The array holds Python objects, which numpy stores as a pickle."),
    _("Never load it."),
    _("This file is %(found)s; opening it can run code."),
    _("About this archive: %(problem)s."),
    _("Nothing that it holds was let through."),
    _("The graph reads tensors from another file: %(path)s."),
    _("A path that leaves the repository reads files of whoever loads it."),
    _("It is quarantined with the graph."),
    # the licence
    _("Only %(families)s says something about the licence."),
    _("Read it."),
    _("The licence %(name)s is not one that a table can judge."),
    _("Let legal read it."),
    _("The licence %(name)s forbids commercial use."),
    _("Do not use it in a product."),
    _("The licence %(name)s forbids derivatives."),
    _("Do not fine-tune or quantise it."),
    _("The licence %(name)s is of the category “%(entry)s”, so it has conditions."),
    _("Read its conditions against your use case."),
    _("The licence is 'other' and the card does not give %(key)s."),
    _("Ask the author which licence this is and where its text lies."),
    _("The card declares %(declared)s, the file %(path)s reads like %(family)s."),
    _("The two contradict each other. Ask the author which one is meant; until then the stricter one counts."),
    _("This licence file's text is not one that Assay knows."),
    # names
    _("Many copies of known models are published under such names to be taken by mistake."),
    # pickles
    _("picklescan did not look at this file: it is too large."),
    _("It would call %(bad)s when it is opened (picklescan)."),
    _("Nobody should open this file anywhere. Ask how it came into the repository."),
    _("picklescan stopped in the middle of this file."),
    _("picklescan found nothing in it that it can read (0 scanned)."),
    _("It imports %(names)s, which picklescan does not know."),
    _("picklescan could not read this file (%(name)s)."),
    # code
    _("The configuration names this code file and the repository does not have it."),
    _("Ask the author."),
    _("The repository carries Python code (%(how)s)."),
    _("A security auditor must read it before approval."),
    _("This Python file is too large to be read."),
    _("Nobody can audit it."),
    _("Read this line."),
    _("This Python file cannot be parsed (%(name)s), so its calls are not known."),
    _("An auditor must read it line by line; a file that no parser reads often hides something."),
    # the whole
    _("A loader runs the files of this folder to generate text."),
    _("Have them audited."),
    _("%(path)s is %(found)s, whatever its name says. %(message)s Nothing of it was loaded."),
    _("What it would tell a loader is not known. Ask the author."),
    # reading
    # chat templates
    _("The chat template is larger than 256 KiB."),
    _("No honest template is."),
    _("The chat template %(what)s: %(group)s."),
    _("A template is a program. Do not serve this model with a runtime that renders it."),
    # the tokenizer
    _("There is no fast tokenizer file, so it must be converted at load time."),
    _("It adds %(ids)s tokens to its vocabulary."),
    _("Each costs time with every text. Ask the author why."),
    _("The tokenizer knows %(total)s tokens, the model has embeddings for %(config_vocab)s."),
    _("Some texts would crash the model or read a wrong row. Ask the author for matching files."),
    _("%(end)s is neither left nor right."),
    # weights
    _("%(path)s is too short to be safetensors."),
    _("%(path)s declares a header of %(length)s bytes, which cannot be."),
    _("The header of %(path)s is not a JSON object."),
    _("The metadata of %(path)s is not a list of names and texts."),
    _("%(path)s lists %(tensors)s tensors; at most %(max_tensors)s are accepted."),
    _("%(path)s has bytes that belong to no tensor."),
    _("%(path)s describes the tensor %(name)s wrongly (type %(dtype)s)."),
    _("The size of the tensor %(name)s in %(path)s does not fit its shape."),
    _("The index has no weight_map, so no loader knows where the tensors are."),
    _("The index says %(total)s bytes of tensors, the shards hold %(held)s."),
    _("The header of %(path)s names a tensor twice."),
    _("The header of %(path)s is not JSON."),
    _("The tensors of %(path)s overlap or leave holes."),
    _("%(path)s describes the tensor %(name)s wrongly."),
    _("The index names a file outside of its folder: %(shard)s."),
    _("A loader that follows it reads files of whoever loads the model."),
    _("The index does not name this shard, so no loader reads it."),
    _("Ask what it is for."),
    _("The index names %(shard)s, which the repository does not have."),
    _("The index names weights that are not safetensors: %(shard)s."),
    _("They are quarantined; only safetensors are loaded."),
    _("The index and the header of %(shard)s disagree about its tensors."),
    # where the commit comes from
    _("This commit is not in the history of the default branch. Anybody can push a commit into a pull request "
      "of a trusted repository; the owner may never have seen it."),
    _("Submit a commit of the default branch, or ask the owner to merge this one."),
    _("The Hub's own scanners have no result for %(unknown)s of %(paths)s files."),
    _("Not scanned is not safe."),
    _("It is not known whether this commit belongs to the default branch: its last %(commits_read)s commits do "
      "not show it."),
    _("Look at the commit on the Hub."),
    _("The Hub did not tell the result of its own security scan."),
    _("The Hub's own scanners call this file %(status)s."),
    _("Do not open it anywhere."),
    _("Look into it."),
    # the tokenizer, tried out
    _("The weights are those of that revision, so they read inputs they were not trained on. Take its "
      "tokenizer back."),
    _("The model reads other inputs than those it was tested with. Compare the golden-set results before you "
      "decide."),
    _("Whether it changed since the last approved revision is not known. Run the %(probed)s on your own texts."),
    # other repositories
    _("Submit that repository for review first, at the commit named here."),
    _("Let legal read both licences."),
    # code keys, after `The key …`
    _("makes a loader run code of the repository"),
    _("can make a loader fetch and run a compute kernel"),
    _("takes a tokenizer class from another repository"),
    _("makes sentence-transformers import a class of its own"),
    _("asks the loader to trust code from the repository"),
    _("names code that a loader may run"),
    # what an automatic reading of code points at
    _("runs text as code"),
    _("turns text into code"),
    _("imports by name"),
    _("opens a debugger"),
    _("reads from the terminal"),
    _("reaches names dynamically"),
    _("reaches built-in functions by name"),
    _("starts a program"),
    _("starts a process"),
    _("ends processes"),
    _("reads or changes the environment, where secrets are"),
    _("reads the environment, where secrets are"),
    _("changes the environment"),
    _("deletes files"),
    _("moves files"),
    _("changes permissions"),
    _("copies or deletes files"),
    _("starts processes"),
    _("opens the network"),
    _("fetches from the Hub"),
    _("calls machine code"),
    _("maps memory"),
    _("unpickles"),
    _("loads code objects"),
    _("fetches and runs code"),
    _("compiles and runs machine code"),
    _("loads machine code"),
    _("may unpickle"),
    _("may build any object"),
    _("builds any object"),
    _("runs files as programs"),
    _("imports from archives"),
    _("installs packages"),
    _("runs later, when nobody looks"),
    _("changes how the process ends"),
    _("watches every call"),
    _("replaces modules"),
    _("changes where imports look"),
    _("fetches machine code"),
    _("compiles machine code"),
    _("may hide text"),
    _("runs beside the caller"),
    _("writes files"),
    _("writes a file"),
    _("deletes a file"),
    _("reaches every class of the process"),
    _("changes code"),
    _("climbs the class tree"),
    _("runs code of another repository"),
    _("`%(call)s` %(why)s."),
    # probes
    _("The tokenizer changed: it encodes %(n)s of %(texts)s probe texts differently than at the last approved "
      "revision (%(which)s)."),
    _("The tokenizer changed: it encodes %(n)s of %(texts)s probe texts differently than at the last approved "
      "revision (%(which)s). Another version of the library ran it then."),
    _("The %(probed)s could not be tried out: %(reason)s"),
    # the licence of a base model
    _("The base model %(base)s is under %(licence)s, which a table cannot judge."),
    _("The card declares %(mine)s, but its base model %(base)s is under %(licence)s, which forbids %(what)s."),
    _("The card declares %(mine)s (%(category)s), but its base model %(base)s is under %(licence)s "
      "(%(theirs)s): a derived model cannot drop those conditions."),
    _("%(missing)s of %(total)s sections of the Hub's card template are missing: %(names)s"),
    _("The owner %(owner)s looks like %(known)s and is somebody else. Compare the address letter by letter "
      "with the one that you were given."),
    _("This name has letters outside the Hub's alphabet, which may imitate other ones."),
    _("It is never loaded nor given out."),
    _("This file's format is not on the list of known ones."),
    _("This file has the name of a text and holds something else."),
    _("This is no tokenizer vocabulary."),
    _("Not scanned is not safe: the file stays quarantined."),
    _("A security auditor must settle it; until then this revision cannot be approved."),
    _("The files do not belong together. Ask the author for a complete upload."),
    # why a legal reviewer is asked
    _("No licence is declared."),
    _("The licence %(licence)s is of the category %(category)s."),
    # jobs
    _("Intake of %(model)s at %(revision)s"),
    _("Benchmark of %(revision)s"),
    _("Evaluation of %(revision)s on %(golden_set)s"),
    _("Cancelled by %(person)s before it started."),
    _("Cancelled by a person while it was running."),
    _("Cancelled by a person; its worker died before it heard of it."),
    _("The worker died %(attempt)s times in the middle of this job, so it is not tried again. Look at the "
      "worker's memory and log, then start it anew."),
    _("The job stopped on an error that Assay did not expect. The worker's log has the details under this "
      "job's number (%(job)s); run it again, and tell your administrator if it stays."),
    _("The model process ended with code %(code)s and no result. Its last words: %(last)s"),
    _("The model process died (%(cause)s). Its last words: %(last)s"),
    _("It did not finish within %(timeout)s seconds (setting %(setting)s) and was ended."),
    _("The model process did not answer every example."),
    _("The golden set %(golden_set)s expects %(labels)s, which %(revision)s cannot answer: its labels are "
      "%(known)s. Correct the set, or the model's label mapping."),
    _("The repository lists %(n)s files; at most %(limit)s are accepted (setting ASSAY_MAX_FILES)."),
    _("The revision is larger than the limit ASSAY_MAX_REVISION_MB."),
    _("%(path)s has %(size)s bytes, over the limit ASSAY_MAX_FILE_MB."),
    _("%(path)s does not have the bytes that the Hub declared for this commit (%(digest)s differs). Nothing "
      "was kept."),
    # requests
    _("%(revision)s is already under review for %(environment)s. Follow that review instead."),
    _("Changes asked for: %(items)s."),
    # evidence
    _("accuracy %(accuracy)s, macro F1 %(macro_f1)s on %(golden_set)s (%(n)s examples)"),
    _("p50 %(p50)s ms, p95 %(p95)s ms a text, %(rate)s texts/s, %(memory)s MB, cold start %(start)s s on "
      "%(device)s (%(cores)s cores)"),
    # suggestions
    _("%(algorithm)s, %(n)s tokens, lower-cases"),
    _("%(algorithm)s, %(n)s tokens, keeps case"),
    _("%(algorithm)s, %(n)s tokens, case not stated"),
    _("The code audit: %(state)s."),
    _("Weights are stored as %(dtypes)s."),
    _("Back to %(sha)s, which is approved."),
    _("Permissive: keep the copyright notice and the licence text with every copy."),
    _("Golden set %(name)s, %(n)s examples."),
    _("No Python code and no code keys in the configuration."),
    _("The repository carries code: %(places)s"),
    _("It answers with one of %(n)s labels: %(labels)s."),
    _("Measured on a CPU: %(summary)s."),
    _("None: it ran on %(cpu)s, %(memory)s MB."),
    _("%(memory)s MB of GPU memory at most in the benchmark."),
    _("%(path)s reads like %(family)s."),
    _("Base model %(base)s: %(licence)s."),
    _("The licence forbids commercial use."),
    _("The licence forbids derivatives."),
    _("None beyond keeping the notice."),
    _("The card: %(shown)s."),
    _("Our golden set: %(summary)s."),
    # states of a code audit and of an answer, and steps of jobs
    _("not applicable"), _("pending"), _("passed"), _("failed"), _("waived"), _("acceptable"), _("concern"), _("not stated"),
    _("needs legal review"), _("rejected"), _("resolve"), _("download"), _("inspect"), _("record"), _("trace"),
    _("verify files"), _("wait for another measurement on this machine"), _("load"), _("warm up"), _("measure"), _("predict"),
    # where a suggestion comes from
    _("Hub metadata"),
    _("the pinned revision"),
    _("licence table"),
    _("code audit"),
    _("data class of the submission"),
    _("file manifest"),
    _("owner of the submission"),
    _("review opened"),
    _("README.md header"),
    _("run %(n)s"),
    _("%(path)s line %(n)s"),
    _("%(path)s lines %(n)s-%(m)s"),
)  # fmt: skip

_HOLE = re.compile(r"%\((\w+)\)s")


@functools.lru_cache(maxsize=1)
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """(what a kept sentence looks like, its pattern), the one with the most words of its own first."""
    found = []
    for text in KEPT:
        parts = _HOLE.split(text)
        if len(parts) > 1:  # one without holes is looked up as it is
            source = "".join(
                re.escape(part) if number % 2 == 0 else f"(?P<{part}>.+?)"
                for number, part in enumerate(parts)
            )
            found.append((len("".join(parts[::2])), re.compile(source, re.DOTALL), text))
    return [(pattern, text) for _, pattern, text in sorted(found, key=lambda each: -each[0])]


def retold(text: str) -> str:
    """A kept English sentence in the reader's language; as it is when it is none of ours, or when it is read in English."""
    language = get_language() or "en"
    if language.startswith("en") or not text or len(text) > MAX_RETOLD:
        return text
    return _retold(str(text), language)


@functools.lru_cache(maxsize=4096)
def _retold(text: str, language: str) -> str:
    exact = gettext(text)
    if exact != text:
        return exact
    for pattern, kept in _patterns():
        if match := pattern.fullmatch(text):
            return gettext(kept) % {name: retold(value) for name, value in match.groupdict().items()}
    lines = text.splitlines()
    return "\n".join(retold(line) for line in lines) if len(lines) > 1 else text
