"""Ranks that are killed at random moments: all end at once, and the run resumes as it would have.

``KILLS`` is the number of kills for each launcher.
"""

import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
from launched import each_launcher, list_words, make_environment
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


def start(launcher, n_ranks, folder):
    """Start a run, or resume it if it has begun."""
    resumes = (folder / "settings.json").exists()
    arguments = ("--resume", folder) if resumes else ("digits", "--output", folder, *OPTIONS)
    program = ("-m", "anyback_nn", "train", *arguments, "--quiet")
    return subprocess.Popen(
        list_words(launcher, n_ranks, *program),
        env=make_environment(),
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


def wait_until(happened, process):
    """Wait until something has happened; fail if the launcher ends before."""
    while not happened():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)


def begin(launcher, n_ranks, folder):
    """Start a run, or resume it if it has begun; return its launcher when all ranks are there."""
    process = start(launcher, n_ranks, folder)
    settings = folder / "settings.json"
    wait_until(lambda: len(find_ranks(folder)) >= n_ranks and settings.exists(), process)
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
    assert process.returncode == 1 or (launcher == "mpi" and process.returncode % 128 == 9)
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
    wait_until(lambda: list_files(folder / "checkpoints"), process)
    assert kill_one(launcher, process, folder, random.Random(5))
    ours = finish(launcher, 2, folder)
    for name, array in expected.items():
        if array.dtype == np.float64:
            np.testing.assert_allclose(ours[name], array, rtol=1e-9, atol=1e-12, err_msg=name)
