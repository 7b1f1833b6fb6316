"""CuPy for programs that have this folder in ``PYTHONPATH``: the stand-in of the tests."""

import sys

import cupy_stand_in

sys.modules.update(cupy_stand_in.MODULES)

from anyback_nn.backends import Backend  # noqa: E402
from anyback_nn.backends.cupy import CupyBackend  # noqa: E402

# It has no streams.
CupyBackend.transfer = Backend.transfer  # type: ignore[method-assign]
