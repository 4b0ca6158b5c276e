"""The full parser: typer, with help, and with one clear line for whatever is wrong with the arguments.

It only parses. Each of its commands returns its options, built from the same table that the quick parser reads.
"""

from __future__ import annotations

import difflib
import inspect
import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from functools import partial

import typer

from aiocache_engine import __version__
from aiocache_engine.cli.commands import options_class
from aiocache_engine.cli.exit_codes import ExitCode
from aiocache_engine.cli.grammar import COMMANDS, COMMON, Command, Kind, Option
from aiocache_engine.cli.options import Options
from aiocache_engine.cli.streams import write_result
from aiocache_engine.errors import UsageError
from aiocache_engine.hints import Any


def _print_version(is_given: bool) -> None:  # noqa: FBT001 - typer calls it so
    if is_given:
        typer.echo(f"aioc {__version__}")
        raise typer.Exit


def _version_option() -> Any:
    return typer.Option(False, "--version", help="Print the version and leave.", callback=_print_version, is_eager=True)


def parse(arguments: Sequence[str]) -> tuple[str, Options] | ExitCode:
    """Give the command and its options, or the exit code where help or the version was printed instead.

    Raises:
        UsageError: the arguments are wrong.
        DiskError: the help or version cannot be written.
    """
    first = arguments[0] if arguments else ""
    if first and not first.startswith("-") and first not in COMMANDS:
        near = difflib.get_close_matches(first, COMMANDS, n=1, cutoff=0.8)
        meant = f"did you mean `aioc {near[0]}`?" if near else "`aioc --help` lists all"
        raise UsageError(f"there is no command {first!r}; {meant}")
    if any(first.split("=")[0] in option.flags for option in COMMON):
        raise UsageError(f"{first} comes after the name of a command; see `aioc --help`")
    said = io.StringIO()
    try:
        with redirect_stdout(said):  # typer has ways of its own with a closed pipe
            outcome = _app()(list(arguments) or ["--help"], prog_name="aioc", standalone_mode=False)
    except typer.TyperException as error:
        where = f"aioc {first}" if first in COMMANDS else "aioc"
        raise UsageError(f"{_lowered(error.format_message())}; see `{where} --help`") from error
    if isinstance(outcome, tuple):
        return outcome
    write_result(said.getvalue())
    return ExitCode.DONE if arguments else ExitCode.USAGE


def _app() -> typer.Typer:
    app = typer.Typer(
        help="A Python package cache that can be cleaned while everything is running.",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    for name, command in COMMANDS.items():
        settings = {"allow_interspersed_args": not command.hands_on}
        app.command(name, help=command.help, context_settings=settings)(_parser(name, command))
    app.callback()(_top)
    return app


def _top(*, version: bool = _version_option()) -> None:
    """Take the options that stand before a command."""
    del version


def _parser(name: str, command: Command) -> Callable[..., tuple[str, Options]]:
    """Make the function whose signature is the command's options, as typer wants it."""
    options = command.all_options()

    def give(**values: Any) -> tuple[str, Options]:
        del values["version"]
        said: dict[str, Any] = {
            field: tuple(value) if isinstance(value, list) else value
            for field, value in values.items()
            if not field.startswith("_")
        }
        return name, options_class(name)(**said)

    parameters = [_parameter(option, f"_{place}") for place, option in enumerate(options)]
    if command.operands is not None:
        field, metavar, text = command.operands
        shown = metavar if command.hands_on else f"[{metavar}]..." if command.takes_many else f"[{metavar}]"
        argument = typer.Argument([] if command.takes_many else None, metavar=shown, help=text, show_default=False)
        parameters.insert(0, _keyword(field, argument, list[str] if command.takes_many else str))
    parameters.append(_keyword("version", _version_option(), bool))
    give.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    give.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return give


def _parameter(option: Option, spare_name: str) -> inspect.Parameter:
    make = partial(typer.Option, help=option.help, show_default=False)
    match option.kind:
        case Kind.FLAG:
            return _keyword(option.name, make(False, *option.flags), bool)
        case Kind.COUNT:
            return _keyword(option.name, make(0, *option.flags, count=True), int)
        case Kind.REFUSED:
            refused = make(False, *option.flags, hidden=True, callback=_refuser(option.help))
            return _keyword(spare_name, refused, bool)
        case Kind.TEXTS:
            convert = _converter(option.convert)
            return _keyword(option.name, make([], *option.flags, metavar=option.metavar, parser=convert), list[str])
        case Kind.TEXT:
            convert = _converter(option.convert)
            return _keyword(option.name, make(None, *option.flags, metavar=option.metavar, parser=convert), str)


def _keyword(name: str, default: Any, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _converter(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """Make a plain function of a conversion, whose errors name the option (typer looks at nothing but functions)."""

    def converted(text: str) -> Any:
        try:
            return convert(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error

    return converted


def _refuser(message: str) -> Callable[[bool], None]:
    def refuse(is_given: bool) -> None:  # noqa: FBT001 - typer calls it so
        if is_given:
            raise UsageError(message)

    return refuse


def _lowered(message: str) -> str:
    return (message[:1].lower() + message[1:]).rstrip(".")
