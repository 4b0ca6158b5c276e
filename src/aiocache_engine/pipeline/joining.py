"""Which pipeline leases a call puts its objects on, besides its own lease (docs/decisions/0020).

Those of the blocks that it is made in, in tasks and threads to which the context was handed on; a call that is made in
none of them, all that its engine has open: nobody can tell which of them it belongs to, and keeping too much for a
while does no harm. Also those that this process was started in, by AIOC_LEASE.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from aiocache_engine.model.names import is_object_id
from aiocache_engine.store.shares import Share

_inside: ContextVar[tuple[Share, ...]] = ContextVar("aiocache_engine_pipeline_leases", default=())


class Pipelines:
    """The pipeline leases of one engine."""

    def __init__(self, leases: str, named: str = "") -> None:
        """Begin with those that this process was started in.

        Args:
            leases: the directory of lease files.
            named: what AIOC_LEASE says.
        """
        words = named.split()
        self._joined = tuple(Share(f"{leases}/{word}") for word in words if is_object_id(word))
        self._lost = [word for word in words if not is_object_id(word)]
        self._open: tuple[Share, ...] = ()

    def of_call(self) -> tuple[Share, ...]:
        """Give those that a call made here and now puts its objects on."""
        if not self._open:
            return self._joined
        around = tuple(share for share in _inside.get() if share in self._open)
        return (*self._joined, *(around or self._open))

    def take_lost(self) -> list[str]:
        """Give what AIOC_LEASE names and nobody holds; each is given once."""
        alive = [share.is_alive() for share in self._joined]
        lost = [*self._lost, *(share.id for share, lives in zip(self._joined, alive, strict=True) if not lives)]
        self._lost = []
        self._joined = tuple(share for share, lives in zip(self._joined, alive, strict=True) if lives)
        return lost

    def open(self, share: Share) -> None:
        """Have calls put their objects on this one too."""
        self._open = (*self._open, share)

    def close(self, share: Share) -> None:
        """Have them no longer do so."""
        self._open = tuple(each for each in self._open if each is not share)

    def named(self, inner: Share | None) -> str:
        """Give what AIOC_LEASE is to say to processes that join this one and those around it."""
        around = (share for share in _inside.get() if share in self._open)
        own = () if inner is None else (inner,)
        return " ".join(dict.fromkeys(share.id for share in (*self._joined, *around, *own)))


@contextmanager
def inside(share: Share | None) -> Iterator[None]:
    """Have the calls of this block, and of tasks started in it, belong to a pipeline; None: to none."""
    if share is None:
        yield
        return
    _inside.set((*_inside.get(), share))
    try:
        yield
    finally:
        # Not by a token: an asynchronous block may be left in another context than it was entered in.
        _inside.set(tuple(each for each in _inside.get() if each is not share))
