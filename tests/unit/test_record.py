from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiocache_engine.model.record import (
    RecordError,
    RecordRow,
    format_record,
    hash_field,
    hash_value,
    parse_record,
)

PATHS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)  # the zip reader refuses the others


@given(st.lists(st.builds(RecordRow, PATHS, st.sampled_from(["", "sha256=abc"]), st.none() | st.integers(0))))
def test_what_is_formatted_is_parsed_back(rows):
    assert parse_record(format_record(rows)) == rows


def test_quotes_commas_and_windows_line_ends_are_understood():
    text = 'a.py,sha256=x,1\r\n"b,""c"".py",sha256=y,2\r\n\r\nd-1.dist-info/RECORD,,\r\n'
    assert parse_record(text) == [
        RecordRow("a.py", "sha256=x", 1),
        RecordRow('b,"c".py', "sha256=y", 2),
        RecordRow("d-1.dist-info/RECORD", "", None),
    ]


@pytest.mark.parametrize("text", ["a.py\n", "a.py,sha256=x\n", "a.py,sha256=x,1,2\n", "a.py,,-1\n", "a.py,,x\n", '"a'])
def test_a_malformed_line_is_refused(text):
    with pytest.raises(RecordError):
        parse_record(text)


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
@given(content=st.binary())
def test_a_digest_survives_its_field(algorithm, content):
    digest = hashlib.new(algorithm, content).digest()
    assert hash_value(hash_field(algorithm, digest)) == (algorithm, digest)
    assert hash_value(f"{algorithm}={digest.hex()}") == (algorithm, digest)


@pytest.mark.parametrize(
    "field",
    ["", "sha256", "sha256=", "sha256=abc", "sha256=" + "!" * 43, "md5=1B2M2Y8AsgTpgAmY7PhCfg", "sha256=" + "ab " * 21],
)
def test_a_field_without_a_good_hash_is_refused(field):
    with pytest.raises(RecordError):
        hash_value(field)
