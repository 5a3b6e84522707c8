"""The reference of the management commands."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from django.core.management import BaseCommand, get_commands, load_command_class

from ciam_reference.markdown import escaped, literal, page, table


def commands_reference() -> str:
    """Return a section for each command, with its options."""
    return page(*(_section(name, app) for name, app in sorted(commands().items())))


def commands() -> dict[str, str]:
    """Return command -> app, for all commands of the package's apps."""
    apps = get_commands()
    return {name: app for name, app in apps.items() if app.partition(".")[0] == "ciam_django"}


def own_options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the options and arguments that Django's commands do not have."""
    known = {action.dest for action in BaseCommand().create_parser("", "")._actions}
    return [
        action
        for action in parser._actions
        if action.dest not in known and not isinstance(action, argparse._SubParsersAction)
    ]


def questions_of(
    parser: argparse.ArgumentParser,
) -> dict[str, tuple[str, argparse.ArgumentParser]]:
    """Return name -> help and parser, for each command that is a word of this command."""
    return {
        choice.dest: (choice.help or "", action.choices[choice.dest])
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for choice in action._choices_actions
    }


def _section(name: str, app: str) -> str:
    parser = load_command_class(app, name).create_parser("manage.py", name)
    questions = questions_of(parser)
    return page(
        f"## {literal(name)}",
        f"From the app `{app}`. {escaped(' '.join((parser.description or '').split()))}",
        "" if questions else _usage(name, own_options(parser)),
        *(
            page(
                f"### {literal(f'{name} {question}')}",
                f"{_sentence(text)}",
                _usage(f"{name} {question}", own_options(of_question)),
            )
            for question, (text, of_question) in questions.items()
        ),
    )


def _usage(words: str, options: list[argparse.Action]) -> str:
    """Return the line of the command, and the table of its options."""
    usage = "\n    ".join([f"manage.py {words}", *map(_usage_of, options)])
    rows = [[literal(_spelling(action)), _description(action)] for action in options]
    return page(f"```text\n{usage}\n```", table(["option", "meaning"], rows) if rows else "")


def _spelling(action: argparse.Action) -> str:
    metavar = action.metavar or action.dest.upper()
    names = ", ".join(action.option_strings) or str(metavar)
    takes_value = action.nargs != 0 and action.option_strings
    return f"{names} {metavar}" if takes_value else names


def _usage_of(action: argparse.Action) -> str:
    spelling = _spelling(action).rpartition(", ")[2]
    is_optional = not action.required or action.nargs in ("?", "*")
    return f"[{spelling}]" if is_optional else spelling


def _description(action: argparse.Action) -> str:
    return " ".join(_sentences_of(action))


def _sentence(help_text: str) -> str:
    text = escaped(" ".join(help_text.split()))
    return f"{text[0].upper()}{text[1:]}."


def _sentences_of(action: argparse.Action) -> Iterator[str]:
    if action.help:
        yield _sentence(action.help)
    if action.required and action.option_strings:
        yield "Required."
    # The help of an option with a metavar lists the choices itself.
    if action.choices and not action.metavar:
        yield f"One of: {', '.join(map(literal, map(str, action.choices)))}."
    if action.default not in (None, False, argparse.SUPPRESS):
        yield f"Default: {literal(str(action.default))}."
