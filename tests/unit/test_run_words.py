"""What the words after `aioc run` mean: a command, and the environment that it is looked for in."""

from __future__ import annotations

import pytest

from aiocache_engine.cli.run import RunOptions, read_words
from aiocache_engine.errors import UsageError
from aiocache_engine.pipeline.tools.request import EnvironmentRequest as Request


@pytest.mark.parametrize(
    ("options", "command", "request_"),
    [
        (RunOptions(words=("ruff", "x@1")), "ruff", Request("ruff")),
        (RunOptions(words=("ruff@0.6.9",)), "ruff", Request("ruff==0.6.9")),
        (RunOptions(words=("ruff@v0.6.*",)), "ruff", Request("ruff==v0.6.*")),
        (RunOptions(words=("ruff@latest",)), "ruff", Request("ruff", refreshes=True)),
        (RunOptions(words=("x",), source="ruff@0.6.9"), "x", Request("ruff==0.6.9")),
        (RunOptions(words=("x",), source="black[d] @ 1!2.0+cpu"), "x", Request("black[d]==1!2.0+cpu")),
        (RunOptions(words=("x",), source="ruff@latest"), "x", Request("ruff", refreshes=True)),
        (RunOptions(words=("x@latest",), source="ruff<1"), "x", Request("ruff<1", refreshes=True)),
        (RunOptions(words=("x.py",), source="ruff"), "x.py", Request("ruff")),
        (RunOptions(words=("x",), source="x @ 1/x.whl"), "x", Request("x @ 1/x.whl")),
        (RunOptions(words=("x",), source="./a@1.whl"), "x", Request("./a@1.whl")),
        (RunOptions(words=("x",), source="x@>=1"), "x", Request("x@>=1")),
        (RunOptions(words=("x",), additions=("y@1", "z")), "x", Request("x", ("y==1", "z"))),
        (RunOptions(words=("x",), additions=("y@latest",)), "x", Request("x", ("y",), refreshes=True)),
        (RunOptions(words=("python",)), "python", Request(None)),
        (RunOptions(words=("python3",)), "python", Request(None)),
        (RunOptions(words=("python3",), python="3.12"), "python", Request(None, python="3.12")),
        (RunOptions(words=("python3.12",)), "python", Request(None, python="3.12")),
        (RunOptions(words=("python3.12.1",), source="rich"), "python", Request("rich", python="3.12.1")),
        (RunOptions(words=("python3.12",), python="3.12"), "python", Request(None, python="3.12")),
        (RunOptions(words=("python@latest",), source="rich"), "python", Request("rich", refreshes=True)),
        (RunOptions(words=("python-lsp",)), "python-lsp", Request("python-lsp")),
        (RunOptions(words=("pythonic",)), "pythonic", Request("pythonic")),
    ],
    ids=repr,
)
def test_words_name_a_command_and_what_brings_it(options: RunOptions, command: str, request_: Request) -> None:
    assert read_words(options) == (command, request_)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (RunOptions(words=("",)), "'' names no tool; say `aioc run TOOL`"),
        (RunOptions(words=(" ",), source="ruff"), "' ' names no tool"),
        (RunOptions(words=("@1",)), "'@1' names no tool"),
        (RunOptions(words=("--help",)), "leave the -- out: `aioc run --help`"),
        (RunOptions(words=("script.py", "x")), "to run a script say `aioc run python script.py`"),
        (RunOptions(words=("./a b.py",)), "`aioc run python './a b.py'`"),
        (RunOptions(words=("./cowsay",)), "'./cowsay' is a path, and no tool is named so"),
        (RunOptions(words=("bin/cowsay@1",)), "'bin/cowsay@1' is a path"),
        (RunOptions(words=("./x-1-py3-none-any.whl",)), "--from ./x-1-py3-none-any.whl COMMAND"),
        (RunOptions(words=("https://127.0.0.1:1/x.zip",)), "--from https://127.0.0.1:1/x.zip COMMAND"),
        (RunOptions(words=("ruff==1",)), "'ruff==1' is no command; name what brings it"),
        (RunOptions(words=("ruff[x]@1",)), "'ruff[x]@1' is no command"),
        (RunOptions(words=("ruff@",)), "a version is missing after the @ in 'ruff@'"),
        (RunOptions(words=("ruff@>=0.6",)), "say `aioc run --from 'ruff>=0.6' ruff`"),
        (RunOptions(words=("ruff@latest@1",)), "'latest@1' is no version; say ruff@VERSION or ruff@latest"),
        (RunOptions(words=("ruff@new",)), "'new' is no version"),
        (RunOptions(words=("x@2",), source="x"), "give it there: --from 'x==2' x"),
        (RunOptions(words=("x@2",), source="x==1"), "--from 'x==1' says already which version is meant; leave @2 out"),
        (RunOptions(words=("x@2",), source="x@1"), "--from 'x@1' says already"),
        (RunOptions(words=("python@3.12",)), "`aioc run --python 3.12 python`"),
        (RunOptions(words=("python3.11",), python="3.12"), "--python 3.12 and python3.11 name two interpreters"),
    ],
    ids=repr,
)
def test_words_that_cannot_be_meant_are_refused_with_what_to_say(options: RunOptions, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_words(options)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
