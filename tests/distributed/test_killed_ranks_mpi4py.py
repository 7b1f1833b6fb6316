"""Ranks that are killed at random moments: all end at once, and the run resumes as it would have.

``KILLS`` is the number of kills for each launcher.
"""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from anyback_nn.training.resume import list_files

KILLS = int(os.environ.get("KILLS", "5"))
OPTIONS = (
    "--hidden",
    "24",
    "--epochs",
    "30",
    "--dtype",
    "float64",
    "--checkpoint-every",
    "7 steps",
)
LAUNCHERS = {
    "mpiexec": lambda n: ("mpiexec", "-n", str(n), sys.executable, "-m", "anyback_nn"),
    "torchrun": lambda n: ("torchrun", "--nproc-per-node", str(n), "-m", "anyback_nn"),
}
each_launcher = pytest.mark.parametrize(
    "launcher", ["mpiexec", pytest.param("torchrun", marks=pytest.mark.needs("torch"))]
)


def start(launcher, n_ranks, folder):
    """Start a run, or resume it if it has begun."""
    resumes = (folder / "settings.json").exists()
    arguments = ("--resume", str(folder)) if resumes else ("digits", "--output", str(folder))
    first, *rest = LAUNCHERS[launcher](n_ranks)
    options = () if resumes else OPTIONS
    environment = {
        **os.environ,
        **{"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        # Open MPI refuses these otherwise; other launchers do not read them.
        **{"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"},
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    }
    return subprocess.Popen(
        [Path(sys.executable).with_name(first), *rest, "train", *arguments, *options, "--quiet"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def find_ranks(folder):
    """Return the processes of a run that are no launchers."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode().split("\0")
        except OSError:  # it has ended
            continue
        if str(folder) in words and "-m" in words[1:3]:
            found.append(int(process.name))
    return found


def finish(launcher, n_ranks, folder):
    """Run to the end, and return the parameters."""
    output, _ = (process := start(launcher, n_ranks, folder)).communicate(timeout=120)
    assert process.returncode == 0, output
    return load_file(folder / "model.safetensors")


def begin(launcher, n_ranks, folder):
    """Start a run, or resume it if it has begun; return its launcher when all ranks are there."""
    process = start(launcher, n_ranks, folder)
    while len(find_ranks(folder)) < n_ranks or not (folder / "settings.json").exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)
    return process


def kill_one(launcher, process, folder, moments):
    """Kill one of the ranks; return False if all had ended before."""
    victims = find_ranks(folder)
    if process.poll() is not None or not victims or (folder / "model.safetensors").exists():
        process.communicate(timeout=60)
        return False
    os.kill(moments.choice(victims), signal.SIGKILL)
    killed = time.monotonic()
    output, _ = process.communicate(timeout=60)
    assert time.monotonic() - killed < 10.0
    # Launchers of MPI end with the number of the signal, and say which process it was.
    assert process.returncode == 1 or (launcher == "mpiexec" and process.returncode % 128 == 9)
    assert re.search(r"signal 9|SIGKILL", output), output
    while find_ranks(folder):
        assert time.monotonic() - killed < 10.0
        time.sleep(0.01)
    return True


@each_launcher
def test_the_others_end_and_the_run_resumes_with_the_same_bits(launcher, tmp_path):
    began = time.monotonic()
    expected = finish(launcher, 3, tmp_path / "whole")
    longest = (time.monotonic() - began) / 2
    moments, kills, run = random.Random(3), 0, 0
    while kills < KILLS:
        folder = tmp_path / str(run)
        while kills < KILLS:
            process = begin(launcher, 3, folder)
            time.sleep(moments.uniform(0.0, longest))
            if not kill_one(launcher, process, folder, moments):
                break
            kills += 1
        if not (folder / "model.safetensors").exists():
            finish(launcher, 3, folder)
        ours = load_file(folder / "model.safetensors")
        assert ours.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_array_equal(ours[name], array, err_msg=name)
        run += 1


@each_launcher
def test_another_number_of_ranks_resumes_with_the_same_numbers(launcher, tmp_path):
    expected = finish(launcher, 2, tmp_path / "whole")
    folder = tmp_path / "killed"
    process = begin(launcher, 3, folder)
    # Not before there is a checkpoint: a rank that goes on would remove what is of no use.
    while not list_files(folder / "checkpoints"):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)
    assert kill_one(launcher, process, folder, random.Random(5))
    ours = finish(launcher, 2, folder)
    for name, array in expected.items():
        if array.dtype == np.float64:
            np.testing.assert_allclose(ours[name], array, rtol=1e-9, atol=1e-12, err_msg=name)
