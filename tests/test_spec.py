"""The list of searches in spec/check.py: no wrong form of a model may be left out of it. `nox -s model` searches."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

SPEC = Path(__file__).resolve().parents[1] / "spec"
# Flags that begin like wrong forms and are none: they shape another flag's run, or drop a check.
SHAPES = {"B_FORGET_FIRST", "B_NOT_LOOKED", "B_ONE_VALUE"}


@pytest.fixture(scope="module")
def check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("spec_check", SPEC / "check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_wrong_form_in_a_model_is_searched(check: ModuleType) -> None:
    in_models = {
        (path.stem, flag)
        for path in SPEC.glob("*.pml")
        for flag in re.findall(r"^#ifn?def (B_\w+)", path.read_text("utf-8"), re.MULTILINE)
        if flag not in SHAPES
    }
    searched = {(run.model, flag) for run in check.RUNS for flag in run.flags.split() if flag.startswith("B_")}
    assert len(in_models) > 50
    assert in_models <= searched


def test_every_wrong_form_is_told_in_the_readme(check: ModuleType) -> None:
    told = (SPEC / "README.md").read_text("utf-8")
    assert not [flag for run in check.RUNS for flag in run.flags.split() if flag.startswith("B_") and flag not in told]


@pytest.mark.parametrize(
    ("output", "as_expected"),
    [
        ("errors: 0\n 10 states, stored", True),
        ("errors: 1\n 10 states, stored", False),
        ("errors: 0\n 1.2e+08 states, stored\nWarning: Search not completed", False),
        ("error: max search depth too small\nerrors: 0\n 10 states, stored", False),
        ("Killed", False),
    ],
)
def test_only_a_complete_search_without_an_error_holds(check: ModuleType, output: str, *, as_expected: bool) -> None:
    assert check.read_verdict(check.Run("locks"), output, seconds=1.0).is_as_expected is as_expected


def test_a_wrong_form_that_holds_or_gives_no_result_is_unexpected(check: ModuleType) -> None:
    run = check.wrong("locks", "B_NESTED_READ")
    assert not check.read_verdict(run, "errors: 0\n 10 states, stored", seconds=1.0).is_as_expected
    assert not check.read_verdict(run, "Killed", seconds=1.0).is_as_expected
    assert check.read_verdict(run, "errors: 1\n 10 states, stored", seconds=1.0).is_as_expected
