"""Runs that are killed at random moments end with the same bits as one that was not.

``KILLS`` is the number of kills; ``nox -s stress`` asks for more.
"""

import os
import random
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import load_file

from anyback_nn.backends import ENVIRONMENT_VARIABLE

KILLS = int(os.environ.get("KILLS", "5"))
INTERVALS = ("1 step", "7 steps", "0.02 seconds", "1 epoch")


def start(spec, folder, *arguments):
    command = [sys.executable, os.path.join(os.path.dirname(__file__), "killed_run.py"), folder]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        ENVIRONMENT_VARIABLE: spec,
    }
    return subprocess.Popen(
        [*command, *arguments], env=environment, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    "spec",
    [
        "numpy",
        pytest.param("torch", marks=pytest.mark.needs("torch")),
        pytest.param("jax", marks=pytest.mark.needs("jax")),
    ],
)
def test_a_killed_run_ends_with_the_bits_of_one_that_was_not(spec, tmp_path):
    whole = tmp_path / "whole"
    whole.mkdir()
    with start(spec, whole) as process:
        process.stdout.readline()
        began = time.monotonic()
    duration = time.monotonic() - began
    assert process.returncode == 0
    expected = load_file(whole / "end.safetensors")
    random_moments, kills, run = random.Random(7), 0, 0
    while kills < (KILLS if spec == "numpy" else max(1, KILLS // 5)):
        run += 1
        folder = tmp_path / str(run)
        folder.mkdir()
        interval = INTERVALS[run % len(INTERVALS)]
        while not (folder / "end.safetensors").exists():
            with start(spec, folder, interval) as process:
                process.stdout.readline()
                try:
                    process.wait(random_moments.uniform(0.0, 1.2 * duration))
                except subprocess.TimeoutExpired:
                    process.kill()
                    kills += 1
            assert process.returncode in (0, -9)
        ours = load_file(folder / "end.safetensors")
        assert ours.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_array_equal(ours[name], array, err_msg=f"{name}, run {run}")
