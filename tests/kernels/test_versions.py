"""Versions of installed distributions."""

from tessella.kernels.versions import installed_version


def test_versions() -> None:
    assert (installed_version("numpy") or "").count(".") == 2
    assert installed_version("no-such-distribution") is None
