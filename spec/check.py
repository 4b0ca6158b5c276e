"""Search the models of the protocol: the right forms must hold everywhere, each wrong form must break.

Run it as ``python spec/check.py`` (the short form, for every day) or ``python spec/check.py --full`` (every complete
search; hours of one core and up to 10 GB of memory), or through ``nox -s model``. It needs spin and a C compiler, and
nothing of the engine: the models say what the code must do, a test of the code says that it does.

The exit code is 0 if every search ended as `RUNS` says, 1 if one did not, 2 if spin or gcc is missing.
"""

from __future__ import annotations

import argparse
import enum
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
DEPTH = 20_000  #: steps of the longest path; a search that meets the limit is not complete and says so
HOW_TO_GET_THEM = "the models need spin and gcc; on Debian and Ubuntu: apt-get install spin gcc"


class Expect(enum.Enum):
    """How a search must end."""

    HOLDS = "holds"  #: no error, and every reachable state was looked at
    BREAKS = "breaks"  #: an assertion fails, or the processes are stuck for ever


class Form(enum.Enum):
    """When a search is done."""

    SHORT = "short"  #: every day and in the full form
    FULL = "full"  #: in the full form alone
    DAILY = "daily"  #: in the short form alone: a smaller stand-in for a search of the full form


@dataclass(frozen=True, slots=True)
class Run:
    """One search of one model."""

    model: str  #: file name without ``.pml``
    flags: str = ""  #: switches of the model, separated by blanks, without ``-D``
    expect: Expect = Expect.HOLDS
    form: Form = Form.SHORT
    memory_mb: int = 1_500  #: the search ends, incomplete, when it needs more

    def __str__(self) -> str:
        return f"{self.model} {self.flags}".strip()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one search found."""

    run: Run
    error_count: int | None  #: None: the search gave no result (it did not build, or was stopped)
    complete: bool
    state_count: int
    memory_mb: float
    seconds: float
    detail: str  #: the broken assertion, or why there is no result

    @property
    def is_as_expected(self) -> bool:
        """Whether the search ended as its run says."""
        if self.run.expect is Expect.BREAKS:
            return bool(self.error_count)
        return self.error_count == 0 and self.complete

    def __str__(self) -> str:
        word = "no result" if self.error_count is None else "breaks" if self.error_count else "holds"
        if word == "holds" and not self.complete:
            word = "not complete"
        mark = "ok  " if self.is_as_expected else "FAIL"
        figures = f"{self.state_count:,} states, {self.memory_mb:,.0f} MB, {self.seconds:.1f} s"
        return f"{mark} {word:<9} {self.run}: {figures}{f' ({self.detail})' if self.detail else ''}"


def wrong(model: str, flags: str) -> Run:
    """Describe a search of a model with one step in its wrong form."""
    return Run(model, flags, Expect.BREAKS)


def full(model: str, flags: str) -> Run:
    """Describe a search that is too long for every day (the largest needs 4.2 GB)."""
    return Run(model, flags, form=Form.FULL, memory_mb=5_000)


def daily(model: str, flags: str) -> Run:
    """Describe a small stand-in for a long search."""
    return Run(model, flags, form=Form.DAILY)


#: Every search. What the models and the flags mean is told in README.md beside this file, and in the models.
RUNS = (
    Run("locks"),
    Run("lease"),
    Run("mark", "MAXC=0"),
    Run("mark", "MAXR=0"),
    Run("epoch"),
    Run("epoch2"),
    Run("gen"),
    Run("core", "NCL=0 NUSER=0"),
    Run("core", "NOLINK NP=0 NUSER=0 MAXC=0"),
    daily("core", "NI=1 NP=0 NUSER=0"),
    daily("run", "MAXC=0"),
    daily("names", "NI=1 NP=0"),
    daily("names", "NI=1 NCL=0 MAXC=0"),
    daily("names", "NI=1 NP=0 NDMG=1 MAXC=0"),
    Run("pins", "NCL=0"),
    Run("pins", "NU=0 NP=0"),
    Run("pins", "NP=0 MAXC=0"),
    Run("pins", "NI=2 NCL=0 NU=0 MAXC=0"),
    full("core", "NP=0 NUSER=0"),
    full("core", "NI=1"),
    full("run", ""),
    full("names", "NP=0"),
    full("names", "NP=0 CLEAN2 MAXC=0"),
    full("names", "NP=0 START=4"),
    *(full("names", f"NCL=0 START={start} IDX={index}") for start in range(4) for index in range(2)),
    full("names", "NI=1"),
    full("names", "NCL=0 NP=0 NDMG=1"),
    full("names", "NI=1 NCL=0 NDMG=1"),
    full("names", "NI=1 NP=0 NDMG=1"),
    full("pins", "NP=0"),
    full("pins", "NU=0 MAXC=0"),
    full("pins", "NI=2 NU=0 NP=0 MAXC=0"),
    full("gen", "BUMPS=6"),
    full("mark", ""),
    # Two wrong forms that hold: another rule makes each safe, and both rules stay (README.md says which).
    daily("run", "B_NO_CLOSURE MAXC=0"),
    full("run", "B_NO_CLOSURE"),
    full("names", "B_NO_LEASE_RECHECK NCL=0 MAXC=0"),
    wrong("core", "B_STAMP_COARSE NCL=0 NUSER=0 MAXC=0"),
    wrong("core", "B_STAMP_BEFORE_LEASE NCL=0 NUSER=0"),
    wrong("core", "B_NO_LEASE_SCAN NCL=0 NUSER=0"),
    wrong("core", "B_NAMES_FIRST NCL=0 NUSER=0 MAXC=0"),
    wrong("core", "B_STAMP_READ_LAST NCL=0 NUSER=0 MAXC=0"),
    wrong("core", "B_NO_STAMP NCL=0 NUSER=0 MAXC=0"),
    wrong("core", "B_LEASE_AFTER_PUBLISH NUSER=0 MAXC=0"),
    wrong("core", "B_LOOKUP_THEN_LEASE NI=1 NUSER=0 MAXC=0"),
    wrong("core", "B_REF_LATE NCL=0 NUSER=0"),
    wrong("core", "B_NO_JOURNAL NCL=0 NUSER=0"),
    wrong("core", "B_MKDIR_LATE NI=1 NP=2 NCL=0 NUSER=0 MAXC=0"),
    wrong("core", "B_FORGET_NOLOCK NI=1 ROUNDS0=2 NCL=0 MAXC=0"),
    wrong("core", "B_EPOCH_BUMP_LAST NI=2 NP=0 NUSER=0 MAXC=0"),
    wrong("core", "B_EPOCH_LATE_READ NI=2 NP=0 NUSER=0 MAXC=0"),
    wrong("core", "B_NO_RECHECK NCL=0 NUSER=0 MAXC=0"),
    wrong("core", "B_PTR_LAST NCL=0 NUSER=0 A_NO_DANGLING"),
    wrong("core", "B_MARKER_AFTER NOLINK NP=0 NUSER=0 MAXC=0"),
    wrong("core", "B_CHECK_BEFORE_RELEASE NOLINK NP=0 NUSER=0 MAXC=0"),
    wrong("core", "B_LINKED_BY_REFERRER B_FORGET_FIRST NI=1 NCL=0"),
    wrong("run", "B_TOOL_EPOCH_ONLY"),
    wrong("run", "B_ENVS_LISTED_FIRST"),
    wrong("run", "B_NO_PARENTS"),
    wrong("run", "B_NO_PARENTS B_NO_CLOSURE"),
    wrong("run", "B_PS_BEFORE_LEASES"),
    wrong("run", "B_LEASE_ENDED_SINCE"),
    wrong("locks", "B_NESTED_FILL"),
    wrong("locks", "B_NESTED_READ"),
    wrong("locks", "B_FILL_UNDER_MAIN"),
    wrong("locks", "B_WAIT_OWN"),
    wrong("lease", "B_CREATE_THEN_LOCK"),
    wrong("lease", "B_REWRITE_BY_RENAME"),
    wrong("lease", "B_PROBE_EX"),
    wrong("mark", "B_UNHELD MAXC=0 MAXR=0"),
    wrong("mark", "B_READ_FIRST MAXC=0 MAXR=0"),
    wrong("mark", "B_COMPARED_ONCE MAXC=0 MAXR=0"),
    wrong("mark", "B_ADD_FIRST MAXR=0"),
    wrong("mark", "B_MARK_EARLIER MAXC=0 MAXR=0"),
    wrong("mark", "B_COUNTER MAXC=0"),
    wrong("mark", "B_KEPT_FILE MAXC=0"),
    wrong("mark", "B_NONE_IS_EQUAL MAXC=0"),
    wrong("mark", "B_STALE_NOTE MAXC=0 MAXR=0"),
    wrong("epoch", "B_BUMP_ONCE"),
    wrong("epoch2", "B_NO_GLOBAL"),
    wrong("names", "B_HASH_KEEPS NI=1 NCL=0"),
    wrong("names", "B_ADOPT_NO_LEASE NP=0 MAXC=0"),
    wrong("names", "B_ADOPT_NO_STAMP NCL=0 MAXC=0"),
    wrong("names", "B_ADOPT_LATE NI=1 NCL=0 MAXC=0"),
    wrong("names", "B_LOOKUP_THEN_LEASE NI=1 NCL=0 MAXC=0"),
    wrong("names", "B_RENAME_THEN_LEASE NI=1 NCL=0 MAXC=0"),
    wrong("names", "B_HASH_LATER NI=1 NCL=0"),
    wrong("names", "B_HASH_LATER NI=1 NCL=0 B_NOT_LOOKED MAXC=0"),
    wrong("names", "B_HASH_LEFT NI=1 NCL=0 MAXC=0"),
    wrong("names", "B_CLEAN_KEEPS_HASH NI=1 NP=0 MAXC=0"),
    wrong("names", "B_NO_GEN NP=0 MAXC=0"),
    wrong("names", "B_LOOKUP_NO_GEN NP=0 MAXC=0"),
    wrong("names", "B_BUMP_LATER NP=0 MAXC=0"),
    wrong("names", "B_NO_RELIST CLEAN2 NP=0 MAXC=0"),
    wrong("names", "B_NO_STAMP_RECHECK NCL=0 MAXC=0"),
    wrong("names", "B_NO_LEASE_RECHECK B_NO_STAMP_RECHECK NI=1 NCL=0 MAXC=0"),
    wrong("names", "B_LEASED_AT_SCAN NI=1 NCL=0 MAXC=0"),
    wrong("names", "B_REFS_BEFORE_LEASES NI=1 NCL=0 MAXC=0"),
    wrong("names", "B_NOTE_BY_ID START=4 NP=0 MAXC=0"),
    wrong("names", "B_DMG_KEEPS_HASH NCL=0 NP=0 NDMG=1 MAXC=0"),
    wrong("names", "B_DMG_AT_ONCE NCL=0 NP=0 NDMG=1 MAXC=0"),
    wrong("pins", "B_PIN_NO_LEASE NU=0 NCL=0 MAXC=0"),
    wrong("pins", "B_PIN_NO_STAMP NU=0 NCL=0 MAXC=0"),
    wrong("pins", "B_PIN_LATE NU=0 NCL=0 MAXC=0"),
    wrong("pins", "B_PIN_UNCHECKED NU=0 NP=0 MAXC=0"),
    wrong("pins", "B_PINS_BEFORE_LEASES NU=0 NCL=0 MAXC=0"),
    wrong("pins", "B_PINS_READ_BEFORE NU=0 NP=0 MAXC=0"),
    wrong("pins", "B_PINS_READ_ONCE NU=0 NP=0 MAXC=0"),
    wrong("pins", "B_SETTLED_FOR_GOOD NP=0 MAXC=0"),
    wrong("pins", "B_SETTLED_UNLISTED NP=0 MAXC=0"),
    wrong("pins", "B_PTR_OVERWRITE NI=2 NCL=0 NU=0 NP=0 MAXC=0"),
    wrong("gen", "B_LAST_ONLY"),
    wrong("gen", "B_MISSING_ALLOWS"),
    wrong("gen", "B_NONE_FIRST"),
    wrong("gen", "B_NO_NONE_LINE"),
    wrong("gen", "B_NO_GLOBAL"),
)


class MemoryBudget:
    """Memory shared by the searches that run at once. A search larger than all of it runs alone."""

    def __init__(self, total_mb: int) -> None:
        self._total_mb = total_mb
        self._free_mb = total_mb
        self._changed = threading.Condition()

    def wait_for(self, memory_mb: int) -> int:
        """Wait until so much is free, take it, and return what was taken."""
        taken_mb = min(memory_mb, self._total_mb)
        with self._changed:
            self._changed.wait_for(lambda: self._free_mb >= taken_mb)
            self._free_mb -= taken_mb
        return taken_mb

    def give_back(self, taken_mb: int) -> None:
        """Return what `wait_for` took."""
        with self._changed:
            self._free_mb += taken_mb
            self._changed.notify_all()


def search(run: Run, *, spin: str, gcc: str, timeout_seconds: float) -> Verdict:
    """Build the searcher of one run in a directory of its own and let it search."""
    started = time.monotonic()

    def no_result(detail: str) -> Verdict:
        seconds = time.monotonic() - started
        return Verdict(run, None, complete=False, state_count=0, memory_mb=0.0, seconds=seconds, detail=detail)

    # SAFETY: assertions and stuck processes. COLLAPSE: about a quarter of the memory, the same states.
    options = ("-DSAFETY", "-DCOLLAPSE", "-DVECTORSZ=2048", f"-DMEMLIM={run.memory_mb}")
    with tempfile.TemporaryDirectory(prefix="aioc-model-") as folder:
        commands = (
            [spin, "-a", *(f"-D{flag}" for flag in run.flags.split()), str(HERE / f"{run.model}.pml")],
            [gcc, "-O2", "-w", *options, "-o", "pan", "pan.c"],
        )
        for command in commands:
            built = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if built.returncode != 0:
                return no_result((built.stdout + built.stderr).strip()[-300:])
        try:
            searched = subprocess.run(
                [str(Path(folder, "pan")), f"-m{DEPTH}"],
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=timeout_seconds,
            )
        except subprocess.TimeoutExpired:
            return no_result(f"stopped after {timeout_seconds:g} s")
    return read_verdict(run, searched.stdout, seconds=time.monotonic() - started)


def read_verdict(run: Run, output: str, *, seconds: float) -> Verdict:
    """Read what spin's searcher printed."""
    errors = re.search(r"errors: (\d+)", output)
    states = re.search(r"([\d.e+]+) states, stored", output)  # 1.2e+08 from a hundred million on
    memory = re.search(r"([\d.]+)\s+total actual memory usage", output)
    broken = re.search(r"pan:1: (.*?)(?: \(at depth \d+\))?$", output, re.MULTILINE)
    is_cut = "Search not completed" in output or "max search depth too small" in output
    return Verdict(
        run,
        error_count=int(errors.group(1)) if errors else None,
        complete=errors is not None and not is_cut,
        state_count=int(float(states.group(1))) if states else 0,
        memory_mb=float(memory.group(1)) if memory else 0.0,
        seconds=seconds,
        detail=broken.group(1) if broken else "" if errors else output.strip()[-300:],
    )


def main(arguments: list[str] | None = None) -> int:
    """Search the chosen form and print one line per search as it ends."""
    parser = argparse.ArgumentParser(description="Search the models of the protocol.")
    parser.add_argument("--full", action="store_true", help="every complete search instead of the short form")
    parser.add_argument("--only", default="", metavar="TEXT", help="only searches whose name and flags contain TEXT")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="searches at once (default: one per core)"
    )
    parser.add_argument("--memory-mb", type=int, help="memory for all searches together (default: 4000, full: 10000)")
    parser.add_argument(
        "--timeout", type=float, default=7_200, metavar="SECONDS", help="for one search (default: 7200)"
    )
    options = parser.parse_args(arguments)
    spin, gcc = shutil.which("spin"), shutil.which("gcc")
    if spin is None or gcc is None:
        print(HOW_TO_GET_THEM, file=sys.stderr)
        return 2
    left_out = Form.DAILY if options.full else Form.FULL
    chosen = [run for run in RUNS if run.form is not left_out and options.only in str(run)]
    budget = MemoryBudget(options.memory_mb or (10_000 if options.full else 4_000))

    def search_within_budget(run: Run) -> Verdict:
        taken_mb = budget.wait_for(run.memory_mb)
        try:
            return search(run, spin=spin, gcc=gcc, timeout_seconds=options.timeout)
        finally:
            budget.give_back(taken_mb)

    started = time.monotonic()
    verdicts = []
    with ThreadPoolExecutor(max_workers=options.jobs) as workers:
        for ended in as_completed([workers.submit(search_within_budget, run) for run in chosen]):
            verdicts.append(ended.result())
            print(verdicts[-1], flush=True)
    failed_count = sum(not verdict.is_as_expected for verdict in verdicts)
    broken_count = sum(verdict.run.expect is Expect.BREAKS and verdict.is_as_expected for verdict in verdicts)
    held_count = len(verdicts) - failed_count - broken_count
    print(
        f"{len(verdicts)} searches in {time.monotonic() - started:.0f} s: "
        f"{held_count} hold, {broken_count} wrong forms break, {failed_count} unexpected"
    )
    return 1 if failed_count or not verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
