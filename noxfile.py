"""What is checked, and how. `nox` alone runs what a change must pass; the README's test command is that.

Beyond the default: `examples` (they are among the tests too), `network` (the real index), `fromager` (a real client,
from the real index too), `torture` (long sweeps), `model` (the models of the protocol).
Arguments after `--` go to pytest, or to `spec/check.py` for `model`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "venv"
nox.options.download_python = "never"
# An interpreter that is not here is skipped with a line, also where CI is set; the one that runs nox is always here.
nox.options.error_on_missing_interpreters = False
# Tests come last, so that the end of the output tells how they went.
nox.options.sessions = ["lint", "typing", "docs", "build", "tests"]

PROJECT = nox.project.load_toml("pyproject.toml")
EXTRAS = PROJECT["project"]["optional-dependencies"]
#: Of the extra `test`, what no test needs; three environments do without.
CHECKERS = ("coverage", "mypy", "nox", "ruff", "types-")
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"
VERSIONS = nox.project.python_versions(PROJECT)
if RUNNING not in VERSIONS:
    VERSIONS.append(RUNNING)
EVERYDAY = ("-m", "not network and not torture")
WITHOUT_END = ("-o", "faulthandler_timeout=0")  # these take as long as they take


def starts(executable: Path | str, version: str) -> bool:
    """Tell whether an interpreter starts and is of that version (a shim may stand for one that is not installed)."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        answer = subprocess.run([executable, "-c", code], capture_output=True, text=True, check=False)
    except OSError:
        return False
    return answer.stdout.strip() == version


def pyenv_versions() -> list[Path]:
    """List the folders of the interpreters that pyenv installed, newest first; nothing where there is no pyenv."""
    if (pyenv := shutil.which("pyenv")) is None:
        return []
    answer = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        return []

    def numbers(folder: Path) -> list[int]:
        return [int(part) for part in folder.name.split(".") if part.isdigit()]

    return sorted(Path(answer.stdout.strip(), "versions").glob("*"), key=numbers, reverse=True)


def find_interpreters() -> list[str]:
    """List the versions that are here, and let nox find those that only pyenv knows: for it, PATH is the one place."""
    found = []
    for version in VERSIONS:
        on_path = shutil.which(f"python{version}")
        if version == RUNNING or (on_path is not None and starts(on_path, version)):
            found.append(version)
            continue
        for folder in pyenv_versions():
            if starts(folder / "bin" / f"python{version}", version):
                os.environ["PATH"] = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
                found.append(version)
                break
    return found


FOUND = find_interpreters()


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and form."""
    session.install("ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def typing(session: nox.Session) -> None:
    """Check the types of the package, and that its public types are what users were promised."""
    session.install("-e", ".", *(each for each in EXTRAS["test"] if each.startswith(("mypy", "types-"))))
    session.run("mypy")
    session.run("mypy", "tests/typing/api.py")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site; a broken link stops it. The code blocks of the pages are executed by the tests."""
    session.install(*EXTRAS["docs"])
    session.run("zensical", "build", "--clean", "--strict")


@nox.session
def build(session: nox.Session) -> None:
    """Build the sdist, and the wheel from it; the tests run on that wheel."""
    session.install("build")
    shutil.rmtree(dist(session), ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(dist(session)))


def dist(session: nox.Session) -> Path:
    """Tell where what was built lies."""
    return session.cache_dir / "dist"


@nox.session(python=VERSIONS, requires=["build"])
def tests(session: nox.Session) -> None:
    """Run every test that needs neither the real index nor hours, on the wheel, where nothing of the source is.

    The Pythons that are here share the tests that show the same on any; with arguments each runs all that it is told.
    """
    (wheel,) = dist(session).glob("*.whl")
    # An environment that is used again may have an older one of the same version.
    session.run("pip", "uninstall", "--quiet", "--yes", PROJECT["project"]["name"], silent=True)
    session.install(str(wheel), *(each for each in EXTRAS["test"] if not each.startswith(CHECKERS)))
    session.run("aioc", "--version")
    shared = f"--share={FOUND.index(str(session.python)) + 1}/{len(FOUND)}"
    session.run("pytest", *EVERYDAY, "--numprocesses=auto", "--dist=worksteal", *(session.posargs or [shared]))


@nox.session
def network(session: nox.Session) -> None:
    """Run the tests that need the real index."""
    session.install(".[test]")
    session.run("pytest", "-m", "network", *WITHOUT_END, *session.posargs)


@nox.session
def fromager(session: nox.Session) -> None:
    """Drive an unmodified Fromager on this cache, and on uv's beside it: a real client from the real index."""
    # The newest that runs on Python 3.11; from 3.12 on the newest there is.
    session.install(".", "fromager==0.77" if RUNNING == "3.11" else "fromager")
    session.run("python", "examples/fromager/drive.py", *(session.posargs or ["stevedore==5.5.0"]))


@nox.session
def torture(session: nox.Session) -> None:
    """Run the long sweeps; AIOC_TORTURE_SECONDS says how long each may take."""
    session.install(".[test]")
    seconds = os.environ.get("AIOC_TORTURE_SECONDS", "600")
    session.run("pytest", "-m", "torture", *WITHOUT_END, *session.posargs, env={"AIOC_TORTURE_SECONDS": seconds})


@nox.session
def examples(session: nox.Session) -> None:
    """Run the tests of the example programs."""
    session.install(".[test]")
    session.run("pytest", *EVERYDAY, "tests/test_examples.py", *session.posargs)


@nox.session(venv_backend="none")
def model(session: nox.Session) -> None:
    """Search the models of the protocol (`-- --full`: all of it, up to 10 GB)."""
    if not (shutil.which("spin") and shutil.which("gcc")):
        session.skip("the models need spin and gcc; on Debian and Ubuntu: apt-get install spin gcc")
    session.run(sys.executable, "spec/check.py", *session.posargs)
