"""``manage.py ciam_errors``: list, explain, export and compare the codes of failures."""

from __future__ import annotations

import dataclasses
import os
import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from ciam_django.error_table.differences import (
    Difference,
    WrongInputError,
    differences_from_export,
    differences_from_package,
    differences_from_vendor,
)
from ciam_django.error_table.explanations import (
    Explanation,
    explanation_lines,
    explanation_of,
    is_code,
)
from ciam_django.error_table.exports import FORMATS, json_text, rows_as_json
from ciam_django.error_table.log_files import (
    LoggedFailure,
    SearchedLog,
    lines_of,
    search_log,
    search_log_file,
)
from ciam_django.error_table.rows import TableRow, project_table, sentence_in, table_languages
from ciam_django.failure_memory import (
    CACHE_ALIAS,
    RememberedFailure,
    failures_with_reference,
    memory_fault,
)
from ciam_django.kinds import Audience, Kind
from ciam_django.lookup import is_known, matched_row
from ciam_django.privacy import loggable_code, one_line

# The exit status of wrong input, as argparse has it.
_WRONG_INPUT: Final = 2
# The exit status that a shell gives a program after SIGPIPE.
_BROKEN_PIPE: Final = 141
# Option -> its name in the help.
_INPUTS: Final = {
    "reference": "CODE|REQUEST_ID", "log": "--log", "old": "OLD.json", "vendor": "--vendor",
}  # fmt: skip
_FAILURE_FACTS: Final = (
    "code", "row", "kind", "stage", "status", "shown", "request_id", "upstream_request_id",
    "sign_in", "method",
)  # fmt: skip
_COLUMNS: Final = ("code", "status", "kind", "audience", "action")


class Command(BaseCommand):
    """List, explain, export and compare the codes of failures; change nothing."""

    help = (
        "Answer questions about the codes of failures: list the table, explain a code or the "
        "failure with a request id, export the table for other programs, and compare tables. "
        "Changes nothing, and does not call CIAM."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add a parser for each question."""
        questions = parser.add_subparsers(dest="question", required=True, metavar="QUESTION")

        rows = questions.add_parser("list", help="list the codes of this project")
        rows.add_argument(
            "--kind", choices=list(map(str, Kind)), metavar="KIND", help="only codes of this kind"
        )
        rows.add_argument(
            "--audience",
            choices=list(map(str, Audience)),
            help="only codes whose reason is for this audience",
        )
        rows.add_argument(
            "--text",
            help="only codes with this text in the code or in a sentence, in any language, or in "
            "the language of --language",
        )
        rows.add_argument("--language", help="the language of the sentences, such as zh-hans")
        rows.add_argument("--json", action="store_true", help="print a JSON list")

        explain = questions.add_parser(
            "explain",
            help="explain a code, or the failure with a request id; the exit status is 1 if nobody "
            "has the request id",
        )
        explain.add_argument(
            "reference",
            metavar="CODE|REQUEST_ID",
            help="a code, or the reference on a user's page, or CIAM's request id",
        )
        explain.add_argument(
            "--log",
            metavar="FILE",
            help="also look for the request id in this log file, with plain lines or JSON lines, "
            "also compressed (.gz); - is the standard input",
        )
        explain.add_argument("--json", action="store_true", help="print one JSON document")

        export = questions.add_parser(
            "export", help="print the codes of this project, or the types of the JSON body"
        )
        export.add_argument("--format", choices=list(FORMATS), default="json", help="the format")

        diff = questions.add_parser(
            "diff",
            help="compare the table of this project with the table of the package, or with an "
            "older export; the exit status is 0 if they are the same, 1 if they differ, and 2 if "
            "the input is wrong",
        )
        source = diff.add_mutually_exclusive_group()
        source.add_argument(
            "old", nargs="?", metavar="OLD.json", help="an older export in the format json"
        )
        source.add_argument(
            "--vendor",
            metavar="FILE",
            help="compare the list of codes that CIAM had published when this version was made "
            "with a list in this file, which has tabs or commas and the columns key, family and "
            "description",
        )
        diff.add_argument("--json", action="store_true", help="print a JSON list")

    def handle(self, *args: Any, **options: Any) -> None:
        """Answer the question."""
        for name, label in _INPUTS.items():
            # A script whose variable is not set must not ask another question.
            if options.get(name) is not None and not options[name].strip():
                raise CommandError(f"{label} is empty.", returncode=_WRONG_INPUT)
        answer = {
            "list": self._list,
            "explain": self._explain,
            "export": self._export,
            "diff": self._diff,
        }[options["question"]]
        # A file of `export` is for programs. A terminal may lack characters of the sentences.
        is_export = options["question"] == "export"
        encoding = {"encoding": "utf-8"} if is_export else {"errors": "backslashreplace"}
        if reconfigure := getattr(self.stdout, "reconfigure", None):
            reconfigure(**encoding)
        try:
            answer(options)
            self.stdout.flush()
        except BrokenPipeError:
            # The reader of the output, such as `head`, has read enough. Python flushes the output
            # once more when it exits.
            with Path(os.devnull).open("wb") as nothing:
                os.dup2(nothing.fileno(), self.stdout.fileno())
            sys.exit(_BROKEN_PIPE)

    def _write_lines(self, lines: Iterable[str]) -> None:
        """Write lines that can have texts of a log, of a file or of the settings."""
        for line in lines:
            self.stdout.write(one_line(line))

    # --- list ---------------------------------------------------------------------------------

    def _list(self, options: dict[str, Any]) -> None:
        languages = table_languages()
        language = options["language"] or languages[0]
        if language not in languages:
            raise CommandError(
                f"There are no texts in {language!r}. Languages: {', '.join(languages)}.",
                returncode=_WRONG_INPUT,
            )
        rows = [
            _in_language(row, language) if options["language"] else row
            for row in project_table().values()
            if options["kind"] in (None, row.kind) and options["audience"] in (None, row.audience)
        ]
        if options["text"]:
            rows = [row for row in rows if row.has_text(options["text"])]
        if options["json"]:
            self.stdout.write(rows_as_json(rows))
            return
        self._write_lines(_table_lines(rows, language))
        self.stderr.write(f"Codes: {len(rows)}.")

    # --- explain ------------------------------------------------------------------------------

    def _explain(self, options: dict[str, Any]) -> None:
        reference = options["reference"].strip()
        if is_known(reference):
            self._write_explanation(explanation_of(reference), options)
            return
        remembered = failures_with_reference(reference)
        path = options["log"]
        searched = SearchedLog() if path is None else _searched_log(path, reference)
        failures: list[RememberedFailure | LoggedFailure] = [*remembered, *searched.failures]
        if failures:
            self._write_failures(failures, options)
            return
        places = _searched_places(searched, path)
        text = f"No failure has the request id {loggable_code(reference)!r}. {places}"
        if not is_code(reference):
            raise CommandError(text)
        self.stderr.write(f"{text} So this is the explanation of a code.")
        self._write_explanation(explanation_of(reference), options)

    def _write_explanation(self, explanation: Explanation, options: dict[str, Any]) -> None:
        if options["json"]:
            document = {"failures": [], "explanation": dataclasses.asdict(explanation)}
            self.stdout.write(json_text(document, indent=1))
            return
        self._write_lines(explanation_lines(explanation))

    def _write_failures(
        self,
        failures: Sequence[RememberedFailure | LoggedFailure],
        options: dict[str, Any],
    ) -> None:
        """Write the failures with a request id, and the explanation of the first of them."""
        explanation = _explanation_of_failure(failures[0])
        if options["json"]:
            document = {
                "failures": [dataclasses.asdict(failure) for failure in failures],
                "explanation": dataclasses.asdict(explanation),
            }
            self.stdout.write(json_text(document, indent=1))
            return
        for failure in failures:
            self._write_lines(_failure_lines(failure, options["log"]))
            self.stdout.write("")
        self._write_lines(explanation_lines(explanation))

    # --- export, diff -------------------------------------------------------------------------

    def _export(self, options: dict[str, Any]) -> None:
        self.stdout.write(FORMATS[options["format"]](), ending="")

    def _diff(self, options: dict[str, Any]) -> None:
        try:
            if options["vendor"] is not None:
                found = differences_from_vendor(options["vendor"])
            elif options["old"] is not None:
                found = differences_from_export(options["old"])
            else:
                found = differences_from_package()
        except WrongInputError as error:
            raise CommandError(str(error), returncode=_WRONG_INPUT) from error
        if options["json"]:
            documents = [dataclasses.asdict(each) for each in found]
            self.stdout.write(json_text(documents, indent=1))
        else:
            for difference in found:
                self._write_lines(_difference_lines(difference))
            self.stderr.write(f"Differences: {len(found)}.")
        if found:
            self.stdout.flush()
            sys.exit(1)


def _in_language(row: TableRow, language: str) -> TableRow:
    """Return the row with the texts of one language only."""
    return dataclasses.replace(
        row,
        titles={language: row.titles[language]},
        sentences={language: row.sentences[language]},
    )


def _table_lines(rows: Sequence[TableRow], language: str) -> Iterator[str]:
    cells = [_COLUMNS, *(tuple(str(getattr(row, name)) for name in _COLUMNS) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    sentences = ["sentence", *(row.sentences[language] for row in rows)]
    for line, sentence in zip(cells, sentences, strict=True):
        padded = (f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
        yield "  ".join([*padded, sentence])


def _searched_log(path: str, reference: str) -> SearchedLog:
    """Search the log file. Raises ``CommandError`` if the file can't be read."""
    if path == "-":
        return search_log(lines_of(sys.stdin.buffer), reference)
    try:
        return search_log_file(path, reference)
    except OSError as error:
        raise CommandError(f"{path} can't be read: {error}", returncode=_WRONG_INPUT) from error


def _searched_places(searched: SearchedLog, path: str | None) -> str:
    """Say where the command has looked for a request id."""
    fault = memory_fault()
    cache = (
        f"The cache {CACHE_ALIAS!r} was not searched: {fault.value}."
        if fault
        else f"The cache {CACHE_ALIAS!r} was searched, which has failures of the last day."
    )
    if path is None:
        return f"{cache} No log file was searched: add --log FILE."
    name = "the standard input" if path == "-" else path
    return (
        f"{cache} In {name}, {searched.lines} lines were searched, and "
        f"{searched.lines_with_failures} of them are lines of failures."
    )


def _explanation_of_failure(failure: RememberedFailure | LoggedFailure) -> Explanation:
    if isinstance(failure, RememberedFailure):
        return explanation_of(failure.code)
    status = int(failure.upstream_status) if failure.upstream_status.isdigit() else None
    return explanation_of(failure.code, failure.type_code, status)


def _failure_lines(failure: RememberedFailure | LoggedFailure, path: str | None) -> Iterator[str]:
    if isinstance(failure, RememberedFailure):
        yield f"Failure in the cache {CACHE_ALIAS!r}, at {failure.time:%Y-%m-%d %H:%M:%S} UTC:"
    else:
        yield f"Failure in line {failure.line} of {path}:"
    for name in _FAILURE_FACTS:
        yield f"  {name:<19} {getattr(failure, name) or '-'}"
    if is_known(failure.shown):
        text = matched_row(failure.shown).message_for_users
        yield f"  the user has read   {sentence_in(settings.LANGUAGE_CODE, text)}"
    if isinstance(failure, RememberedFailure) and failure.step != "exact":
        yield "  The cache has no code without a row of its own: the log line has CIAM's code."


def _difference_lines(difference: Difference) -> Iterator[str]:
    note = f": {difference.note}" if difference.note else ""
    yield f"{difference.what:<8} {difference.code}{note}"
    for name, values in difference.changes.items():
        old, new = map(json_text, values)
        yield f"         {name}: {old} -> {new}"
