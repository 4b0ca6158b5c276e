"""`aioc pin`: keep archives in the cache whatever is cleaned or pruned; without any, list the pins."""

from __future__ import annotations

import os

from aiocache_engine.cli.options import Options
from aiocache_engine.cli.render_pins import pins_document, pins_text
from aiocache_engine.cli.terminal import Terminal
from aiocache_engine.errors import UsageError
from aiocache_engine.model.value import value
from aiocache_engine.pipeline.collector.condemned import free_condemned_now
from aiocache_engine.pipeline.kit import open_kit
from aiocache_engine.store.archives import is_present
from aiocache_engine.store.pins import read_pins


@value(kw_only=True)
class PinOptions(Options):
    """What `pin` may be told."""

    requirements: tuple[str, ...] = ()
    name: str | None = None


OPTIONS = PinOptions


def run(options: PinOptions, terminal: Terminal) -> None:
    """Pin what is named, and tell under which name it is taken off again."""
    if options.name is not None and not options.requirements:
        raise UsageError("say what the pin shall keep: `aioc pin --name N REQ…`")
    kit = open_kit(options.cache_dir, config=options.config(os.environ), environ=os.environ, reporter=terminal)
    if options.requirements:
        from aiocache_engine.pipeline.collector.pinning import pin  # noqa: PLC0415 - names need `packaging`

        pins = kit.conductor().perform(pin(kit, options.requirements, options.name))
    else:
        found = read_pins(kit.cache.layout)
        for path in found.unreadable:
            terminal.warns(
                f"the pin {path} cannot be read, so it keeps everything; a newer aioc made it, or it is damaged"
            )
        pins = found.readable
        if not pins:
            terminal.says("nothing is pinned")
    ids = {each.archive_id for pin in pins for each in pin.archives}
    gone = {each for each in ids if not is_present(kit.cache.layout.archive(each))}
    terminal.show(lambda: pins_document("pin", pins, gone=gone), lambda: pins_text(pins, gone=gone))
    free_condemned_now(kit)
