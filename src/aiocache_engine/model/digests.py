"""SHA-256 of small texts, by the module that CPython has for it.

hashlib would load OpenSSL first, which takes a warm command longer than all that it hashes. OpenSSL is faster by far on
large content: files and pages go there. Both give the same digest.
"""

from __future__ import annotations

import sys

try:
    if sys.version_info >= (3, 12):
        from _sha2 import sha256
    else:
        from _sha256 import sha256  # type: ignore[import-not-found, unused-ignore]
except ImportError:  # another Python, or one that was built without
    from hashlib import sha256


def sha256_of(content: bytes) -> str:
    """Give the digest of a small content in lower-case hexadecimal."""
    digest: str = sha256(content).hexdigest()
    return digest
