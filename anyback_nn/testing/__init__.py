"""Tools to prove that array code computes the same on every backend: for this project and others.

`check_gradients` compares a hand-written derivative with differences, `assert_close` an array of
any library with what it should be, `compare_backends` follows one training run on several backends,
`no_host_reads` refuses values that are read back from a device, `count_host_reads` counts them,
`collect_programs` shows which steps are traced, and `anyback_nn.testing.plugin` runs the tests of
any project on every backend.
"""

from __future__ import annotations

import lazy_loader

# pytest loads this package in every project: the names are imported when they are first used.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
