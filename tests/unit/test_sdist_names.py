"""File names of sdists are taken apart in one way, and what is unsafe in a path is refused."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import InvalidSdistFilename, canonicalize_name, parse_sdist_filename
from packaging.version import Version

from aiocache_engine.errors import InvalidNameError
from aiocache_engine.model.names import is_sdist, sdist_name

PROJECTS = st.from_regex(r"[a-zA-Z0-9]([a-zA-Z0-9._]{0,8}[a-zA-Z0-9])?", fullmatch=True)
VERSIONS = st.builds(
    "{}{}{}".format,
    st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){0,3}", fullmatch=True),
    st.sampled_from(["", "a1", "b2", "rc3", ".post4", ".dev5", "rc1.dev2"]),
    st.sampled_from(["", "+local.1", "+ubuntu_2"]),
)


@pytest.mark.parametrize(
    ("filename", "project", "version"),
    [
        ("demo-1.0.tar.gz", "demo", "1.0"),
        ("demo-1.0.zip", "demo", "1.0"),
        ("ruamel.yaml-0.18.tar.gz", "ruamel-yaml", "0.18"),
        ("zope_interface-6.0.tar.gz", "zope-interface", "6.0"),
        ("demo-1!2.0+local.3.tar.gz", "demo", "1!2.0+local.3"),
        ("python-dateutil-2.8.tar.gz", "python-dateutil", "2.8"),
        ("backports.ssl-match-hostname-3.7.0.1.tar.gz", "backports-ssl-match-hostname", "3.7.0.1"),
        ("demo-v1.0.tar.gz", "demo", "v1.0"),
        ("demo-1.0-beta2.tar.gz", "demo", "1.0-beta2"),
    ],
)
def test_a_name_without_a_known_project_is_split_at_the_last_dash_before_a_digit(filename, project, version):
    name = sdist_name(filename)
    assert (filename, project, version) == (name.filename, name.project, name.version)


@pytest.mark.parametrize(
    ("filename", "project", "version"),
    [
        ("demo-1.0-1.tar.gz", "demo", "1.0-1"),
        ("demo-1-0.5.tar.gz", "demo-1", "0.5"),
        ("demo-1-0.5.tar.gz", "demo", "1-0.5"),
        ("Demo__X-2-1.0.zip", "demo-x-2", "1.0"),
        ("demo-snapshot.tar.gz", "demo", "snapshot"),
    ],
)
def test_a_known_project_tells_where_the_version_begins(filename, project, version):
    assert version == sdist_name(filename, project).version


def test_a_file_of_another_project_is_refused():
    with pytest.raises(InvalidNameError, match="name-version"):
        sdist_name("demo-1.0.tar.gz", "other")


@pytest.mark.parametrize(
    "filename",
    [
        "",
        ".tar.gz",
        "-1.0.tar.gz",
        "demo.tar.gz",
        "demo-.tar.gz",
        "demo-1.0.tar.bz2",
        "demo-1.0.tgz",
        "demo-1.0.tar.gz.exe",
        "demo-1.0",
        "../demo-1.0.tar.gz",
        "de/mo-1.0.tar.gz",
        "de\\mo-1.0.tar.gz",
        "de\0mo-1.0.tar.gz",
        "demo-1.0 .tar.gz",
        "d\N{LATIN SMALL LETTER E WITH ACUTE}mo-1.0.tar.gz",
        "demo-\N{ARABIC-INDIC DIGIT ONE}.0.tar.gz",
        ".demo-1.0.tar.gz",
        "demo-latest.zip",
        "demo-1.0-py3-none-any.whl",
        "d" * 300 + "-1.0.tar.gz",
    ],
)
def test_what_is_no_sdist_or_unsafe_in_a_path_is_refused(filename):
    with pytest.raises(InvalidNameError):
        sdist_name(filename)


@given(PROJECTS, VERSIONS, st.sampled_from([".tar.gz", ".zip"]))
def test_names_that_packaging_reads_are_read_the_same(project, version, ending):
    filename = f"{project}-{version}{ending}"
    name = sdist_name(filename)
    assert is_sdist(filename)
    assert parse_sdist_filename(filename) == (canonicalize_name(name.project), Version(name.version))
    assert name == sdist_name(filename, name.project)


@given(st.text(alphabet="ab1-._+!/\\\0 v", max_size=12))
def test_any_text_is_read_or_refused_and_what_is_read_is_of_one_component(text):
    try:
        name = sdist_name(text + ".tar.gz")
    except InvalidNameError:
        return
    assert not set(name.filename) & set("/\\\0 ")
    assert name.project
    assert name.version
    with suppress(InvalidSdistFilename):  # its version is of a form that PEP 440 does not know
        assert parse_sdist_filename(name.filename)[0] == name.project or "-" in name.version
