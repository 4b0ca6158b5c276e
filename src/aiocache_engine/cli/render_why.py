"""The answers of why, as document (JSON) and as text, both from the same values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aiocache_engine.cli.render_removal import name_of, reason_document, reason_text
from aiocache_engine.cli.terminal import printable
from aiocache_engine.cli.units import size_of
from aiocache_engine.hints import Any
from aiocache_engine.model.removal import KeepCode, KeepReason, RemovalReason, StoredSdist
from aiocache_engine.model.why import Explanation, StoredPages

_SAID = {
    RemovalReason.UNREACHABLE: "nothing leads to it",
    RemovalReason.ENVIRONMENTS_GONE: "it was linked into environments, and all of them are gone",
    RemovalReason.SUPERSEDED: "no request leads to it any more, or its interpreter is gone",
    RemovalReason.UNUSED: "nobody used it for as long as AIOC_UNUSED_FOR says",
}
_SAID_OF_SDISTS = {**_SAID, RemovalReason.SUPERSEDED: "a wheel that was built of it is there"}
_BEGIN_WITH_CHAIN = frozenset({KeepCode.ENVIRONMENT, KeepCode.PIN})  #: their texts do


def why_document(answers: Sequence[Explanation]) -> Mapping[str, Any]:
    """Give `aioc.why/1`."""
    return {
        "schema": "aioc.why/1",
        "entries": [
            {
                "kind": each.object.kind,
                "project": each.object.project,
                "version": each.object.version,
                "id": each.object.id,
                "tool": each.object.tool,
                "bytes": each.object.size_bytes,
                "reasons": [reason_document(reason) for reason in each.reasons],
                "next_prune": {
                    "removes": each.removal is not None,
                    "reason": each.removal.value if each.removal is not None else None,
                },
            }
            for each in answers
        ],
    }


def why_text(answers: Sequence[Explanation]) -> str:
    """Give a paragraph per entry: what it is, and below it what keeps it or why it will go."""
    return "\n".join(printable(line) for each in answers for line in _lines(each))


def _lines(answer: Explanation) -> list[str]:
    seen = answer.object
    name = f"pages of {seen.project}" if isinstance(seen, StoredPages) else name_of(seen)
    head = f"{name} ({size_of(answer.object.size_bytes)})"
    if answer.removal is not None:
        said = _SAID_OF_SDISTS if isinstance(seen, StoredSdist) else _SAID
        return [f"{head}: the next prune removes it", f"  {said.get(answer.removal, answer.removal.value)}"]
    return [f"{head}: kept", *map(_reason_line, answer.reasons)]


def _reason_line(reason: KeepReason) -> str:
    chain = reason.via[1:] if reason.code in _BEGIN_WITH_CHAIN else reason.via
    return f"  by {reason_text(reason)}{f' ({chain[0]})' if chain else ''}, until {reason.release}"
