"""The quick parser: reads the plain forms of all arguments without importing typer, and gives up on anything else.

Giving up is no error: the full parser then reads the same arguments, and knows how to explain what is wrong with them.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiocache_engine.cli.commands import options_class
from aiocache_engine.cli.grammar import COMMANDS, Command, Kind, Option
from aiocache_engine.cli.options import Options
from aiocache_engine.hints import Any


def parse(arguments: Sequence[str]) -> tuple[str, Options] | None:
    """Give the command and its options; None: the arguments are beyond this parser, right or wrong."""
    if not arguments or (command := COMMANDS.get(arguments[0])) is None:
        return None
    values: dict[str, Any] = {}
    operands: list[str] = []
    table = {flag: option for option in command.all_options() for flag in option.flags}
    words = iter(arguments[1:])
    for word in words:
        if not word.startswith("-"):
            operands.append(word)
            if command.hands_on:
                operands += words
            continue
        flag, equals, text = word.partition("=")
        option = table.get("-v" if flag == "-vv" else flag)
        if option is None or (equals and not flag.startswith("--")):
            return None
        if option.kind in (Kind.TEXT, Kind.TEXTS):
            value = text if equals else next(words, "")
        else:
            value = "" if equals else flag.lstrip("-")
        if not value or value.startswith("-") or not _put(values, option, value):
            return None
    if not _put_operands(values, command, operands):
        return None
    return arguments[0], options_class(arguments[0])(**values)


def _put(values: dict[str, Any], option: Option, text: str) -> bool:
    """Keep what an option said; False: it cannot be said so."""
    match option.kind:
        case Kind.FLAG:
            values[option.name] = True
        case Kind.COUNT:
            values[option.name] = values.get(option.name, 0) + (2 if text == "vv" else 1)
        case Kind.TEXT | Kind.TEXTS:
            try:
                value = option.convert(text)
            except ValueError:
                return False
            values[option.name] = (*values.get(option.name, ()), value) if option.kind is Kind.TEXTS else value
    return option.kind is not Kind.REFUSED


def _put_operands(values: dict[str, Any], command: Command, operands: list[str]) -> bool:
    if not operands:
        return True
    if command.operands is None or (len(operands) > 1 and not command.takes_many):
        return False
    values[command.operands[0]] = tuple(operands) if command.takes_many else operands[0]
    return True
