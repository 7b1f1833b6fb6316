"""The runtime of the page: the version that it names, and no other package in its place."""

from __future__ import annotations

import gzip

import pytest

from anyback_nn.errors import AnybackError
from anyback_nn.playground import runtime


def test_the_module_is_of_the_version_that_is_named():
    module = gzip.decompress(runtime.read("module"))
    assert f"ONNX Runtime Web v{runtime.describe()['version']}".encode() in module[:200]
    assert gzip.decompress(runtime.read("wasm"))[:4] == b"\0asm"
    assert runtime.read_license().startswith("MIT License")


def test_a_package_with_another_hash_is_refused(tmp_path):
    before = runtime.read("module")
    with pytest.raises(AnybackError, match=r"expected sha512-q0y\+JrrtukXS"):
        runtime.unpack(b"another", tmp_path)
    assert runtime.read("module") == before
