"""Small digests are hashlib's, without OpenSSL."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest

from aiocache_engine.model.digests import sha256_of


@pytest.mark.parametrize("content", [b"", b"\0", "é".encode(), bytes(range(256)) * 5000])
def test_a_digest_is_the_one_that_hashlib_gives(content: bytes) -> None:
    assert sha256_of(content) == hashlib.sha256(content).hexdigest()


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="another Python has its own modules")
def test_no_openssl_is_loaded_for_it() -> None:
    code = "import sys; from aiocache_engine.model.digests import sha256_of; sha256_of(b''); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"hashlib", "_hashlib"} & set(ran.stdout.split())
