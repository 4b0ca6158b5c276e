"""Keep a cache tidy: plan a prune, show it, and carry it out if it is worth it: `python janitor.py [LEAST_MEGABYTES]`.

May run at any time, from cron say: it waits for nobody, and whatever is in use stays.
"""

from __future__ import annotations

import sys

import anyio

from aiocache_engine import CacheEngine


async def main(least_megabytes: float) -> None:
    async with CacheEngine() as engine:
        plan = await engine.plan_prune()
        expected = await engine.foresee(plan)
        print(f"{engine.cache_dir}: a prune would free {expected.freed_bytes / 1e6:.1f} MB")
        for kept in plan.kept:
            for reason in kept.reasons:
                if reason.pid is not None:
                    print(f"in use by process {reason.pid}: {kept.object.project or kept.object.tool}")
        if expected.freed_bytes < least_megabytes * 1e6:
            print("not worth it yet")
            return
        # Everything in the plan is looked at again: what came into use since stays.
        removal = await engine.prune()
        print(
            f"freed {removal.freed_bytes / 1e6:.1f} MB, with no hold of the lock above {removal.longest_hold_seconds} s"
        )


if __name__ == "__main__":
    anyio.run(main, float(sys.argv[1]) if len(sys.argv) > 1 else 0.0)
