"""How long a warm command takes to start: `aioc run` of a tool beside `uvx` of the same, and the small commands.

Whole processes, in turns of changing order, medians; an overhead is what is above the tool run directly. Start it with
an interpreter that has a regular installation of this package (compiled, not editable). The tool is fetched from the
index that the environment names, into caches of their own.

    python benchmarks/start.py [--rounds N] [--uvx PATH]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ARGUMENTS = ("-t", "hi")
RATIOS = {"uvx as typed": 0.5, "uvx --offline --python": 1.5}  # the goal: our overhead is at most so much of theirs


def measure(commands: dict[str, list[str]], environ: dict[str, str], *, rounds: int) -> dict[str, tuple[float, float]]:
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 2):
        for name in list(commands)[:: 1 if number % 2 else -1]:
            started = time.perf_counter()
            subprocess.run(
                commands[name], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True
            )
            if number >= 2:  # the first two fill caches
                seconds[name].append(time.perf_counter() - started)
    return {name: (statistics.median(times) * 1000, min(times) * 1000) for name, times in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument(
        "--uvx", default=shutil.which("uvx", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    )
    arguments = parser.parse_args()
    aioc = str(Path(sys.executable).with_name("aioc"))
    base = os.path.realpath(sys.executable)
    with tempfile.TemporaryDirectory() as place:
        environ = {**os.environ, "AIOC_CACHE_DIR": f"{place}/aioc", "UV_CACHE_DIR": f"{place}/uv"}
        script = subprocess.run(
            [aioc, "run", "--from", "cowsay", "python", "-c", "import sys; print(sys.prefix)"],
            env=environ, stdout=subprocess.PIPE, text=True, check=True,
        ).stdout.strip() + "/bin/cowsay"  # fmt: skip
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "the tool itself": [script, *ARGUMENTS],
            "aioc run": [aioc, "run", "cowsay", *ARGUMENTS],
            "aioc --version": [aioc, "--version"],
            "aioc dir": [aioc, "dir"],
            "aioc size": [aioc, "size"],
        }
        if arguments.uvx:
            subprocess.run([arguments.uvx, "-q", "--python", base, "cowsay", *ARGUMENTS], env=environ, check=True)
            commands["uvx as typed"] = [arguments.uvx, "cowsay", *ARGUMENTS]
            commands["uvx --offline --python"] = [arguments.uvx, "--offline", "--python", base, "cowsay", *ARGUMENTS]
        measured = measure(commands, environ, rounds=arguments.rounds)
    load = f"load {os.getloadavg()[0]:.1f}"
    print(f"{sys.version.split()[0]}, median and least of {arguments.rounds} whole processes, {load}")
    for name, (median, least) in measured.items():
        print(f"  {median:7.1f} {least:7.1f} ms  {name}")
    medians = {name: median for name, (median, _) in measured.items()}
    ours = medians["aioc run"] - medians["the tool itself"]
    print(f"  overhead of aioc run: {ours:.1f} ms")
    for name, goal in RATIOS.items():
        if name in medians:
            theirs = medians[name] - medians["the tool itself"]
            print(f"    {ours / theirs:.2f} of the {theirs:.1f} ms of {name} (goal: at most {goal})")


if __name__ == "__main__":
    main()
