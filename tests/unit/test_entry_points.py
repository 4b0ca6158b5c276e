from __future__ import annotations

import pytest

from aiocache_engine.model.entry_points import EntryPoint, EntryPointError, pip_entry_points, script_entry_points


def test_scripts_of_both_groups_are_found_and_other_groups_are_left_alone():
    text = """
    # comment
    [console_scripts]
    tool = package.cli:main
    other=package:App.run [extra, more]

    [gui_scripts]
    window = package.gui : start
    [package.plugins]
    python = anything goes here
    """
    assert script_entry_points(text) == [
        EntryPoint("console_scripts", "tool", "package.cli", "main"),
        EntryPoint("console_scripts", "other", "package", "App.run"),
        EntryPoint("gui_scripts", "window", "package.gui", "start"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "..", "../tool", "a/b", "a\\b", ".hidden", "-option", "tool.", "to\x7fol", "c:tool", "x" * 250,
        "python", "Python", "python3", "python3.11", "python3.13t", "pythonw", "python.exe", "pypy3", "python3-config",
    ],
)  # fmt: skip
def test_a_name_that_is_no_safe_command_is_refused(name):
    with pytest.raises(EntryPointError):
        script_entry_points(f"[console_scripts]\n{name} = package:main\n")


@pytest.mark.parametrize("name", ["python-argcomplete-check", "pythonic", "ipython3", "pip3.11", "a b", "übung"])
def test_a_name_that_only_resembles_an_interpreter_is_a_command(name):
    assert script_entry_points(f"[console_scripts]\n{name} = package:main\n")[0].name == name


@pytest.mark.parametrize(
    "reference",
    [
        "package",
        "package:",
        ":main",
        "package:main()",
        "package:a;b",
        "package..x:main",
        "1package:main",
        "os:system('x')",
        "a.class:main",
        "a:import.x",
    ],
)
def test_an_object_reference_that_is_no_dotted_name_is_refused(reference):
    with pytest.raises(EntryPointError):
        script_entry_points(f"[console_scripts]\ntool = {reference}\n")


@pytest.mark.parametrize("text", ["[console_scripts\nx = a:b\n", "[console_scripts]\nnothing\n"])
def test_a_line_that_cannot_be_understood_is_refused(text):
    with pytest.raises(EntryPointError):
        script_entry_points(text)


def test_a_script_defined_twice_is_refused_unless_both_mean_the_same():
    assert len(script_entry_points("[console_scripts]\nx = a:b\n[gui_scripts]\nx = a:b\n")) == 1
    with pytest.raises(EntryPointError):
        script_entry_points("[console_scripts]\nx = a:b\n[gui_scripts]\nx = a:c\n")


def test_pip_gets_its_commands_for_the_python_it_is_installed_for() -> None:
    text = "[console_scripts]\npip = pip._internal:main\npip3.9 = pip._internal:main\nother = o:main\n"
    points = pip_entry_points(script_entry_points(text), "3.12")
    assert [point.name for point in points] == ["pip", "other", "pip3", "pip3.12"]
    assert {point.module for point in points if point.name.startswith("pip")} == {"pip._internal"}
