"""Ranks train the model that one process trains, over MPI and gloo: the oracle is that process."""

from __future__ import annotations

import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import launched
import numpy as np
import pytest
import ranks_cases
from ranks_cases import REFUSALS, Run, list_cases

import anyback_nn as nn

SPECS = [name for name in ("numpy", "torch", "jax") if find_spec(name)]

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
"""The largest error, relative to the largest element of an array."""

LOOSER = {
    # The line search of SciPy is told apart by the last bits.
    "lbfgs": {"float32": 1e-3, "float64": 1e-9},
    "lbfgs of values": {"float32": 1e-3, "float64": 1e-9},
    # Each rank rounds its sums to 11 and 8 bits.
    "float16": {"float32": 2.0**-9},
    "bfloat16": {"float32": 2.0**-6},
}


class Launched(NamedTuple):
    """What the ranks of a launch have written."""

    arrays: dict[str, Any]
    ranks: list[dict[str, Any]]


LAUNCHES = [(launcher, n_ranks) for launcher in launched.LAUNCHERS for n_ranks in (1, 2, 3, 4)]
EVERY = ("mpi", 2)
"""The launch in which every case is taken."""


def list_params(*cases: tuple[Any, ...]) -> list[Any]:
    """Return parameters of tests: the launches, each with the values of its cases."""
    return [
        pytest.param(*values, marks=pytest.mark.needs("torch") if values[0] == "gloo" else ())
        for values in cases
    ]


each_launch = pytest.mark.parametrize(("launcher", "n_ranks"), list_params(*LAUNCHES))
each_training = pytest.mark.parametrize(
    ("launcher", "n_ranks", "spec", "dtype", "name"),
    list_params(
        *(
            (*launch, spec, dtype, name)
            for launch in LAUNCHES
            for spec in SPECS
            for name, dtype in list_cases(spec, launch == EVERY)
        )
    ),
)


@pytest.fixture(scope="module")
def launches(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Any:
    """Run all cases on some ranks, once; a launch that fails does so for each of its tests."""
    calls = [item.callspec for item in request.session.items if hasattr(item, "callspec")]
    chosen = {call.params.get("spec") for call in calls}
    specs = [spec for spec in SPECS if spec in chosen] or SPECS[:1]

    @cache
    def launch(launcher: str, n_ranks: int) -> Launched | str:
        folder = tmp_path_factory.mktemp(f"{launcher}-{n_ranks}")
        ranks_cases.write_files(folder)
        which = "every" if (launcher, n_ranks) == EVERY else "fewer"
        program = (ranks_cases.__file__, folder, ",".join(specs), which)
        try:
            outcome = launched.launch(launcher, n_ranks, *program, timeout=600.0)
        except pytest.fail.Exception as error:
            return str(error)
        if outcome.status != 0:
            return outcome.err
        ranks = [json.loads(Path(folder, f"rank-{i}.json").read_text()) for i in range(n_ranks)]
        return Launched(dict(np.load(folder / "results.npz")), ranks)

    def find(launcher: str, n_ranks: int) -> Launched:
        found = launch(launcher, n_ranks)
        assert isinstance(found, Launched), found
        return found

    return find


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Compute a case in this process, once."""
    folder = tmp_path_factory.mktemp("alone")
    ranks_cases.write_files(folder)

    @cache
    def compute(spec: str, dtype: str, name: str) -> dict[str, Any]:
        return ranks_cases.take(name, Run(spec, dtype, nn.distributed.ALONE, folder))

    return compute


@each_training
def test_ranks_train_the_model_of_one_process(
    launcher, n_ranks, spec, dtype, name, launches, alone
):
    arrays, expected = launches(launcher, n_ranks).arrays, alone(spec, dtype, name)
    tolerance = LOOSER.get(name.removeprefix("estimator: "), TOLERANCE)[dtype]
    place = f"{spec}/{dtype}/{name}/"
    parts = {key.removeprefix(place) for key in arrays if key.startswith(place)}
    assert parts == expected.keys()
    for part, array in expected.items():
        ours, scale = arrays[place + part], np.max(np.abs(array))
        assert (ours.dtype, ours.shape) == (array.dtype, array.shape)
        np.testing.assert_allclose(ours, array, rtol=0, atol=tolerance * scale, err_msg=part)


@each_launch
def test_all_ranks_end_with_the_same_bits(launcher, n_ranks, launches):
    ranks = launches(launcher, n_ranks).ranks
    kinds = {"mpi": "MPIRanks", "gloo": "TorchRanks"}
    for rank in ranks:
        assert (rank["size"], rank["kind"]) == (
            n_ranks,
            kinds[launcher] if n_ranks > 1 else "Communicator",
        )
        assert rank["checksums"] == ranks[0]["checksums"]


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize(
    ("launcher", "n_ranks"), list_params(*(launch for launch in LAUNCHES if launch[1] > 1))
)
def test_wrong_calls_are_refused_on_every_rank(launcher, n_ranks, name, launches):
    messages = [rank["refusals"][name] for rank in launches(launcher, n_ranks).ranks]
    assert len({*messages}) == 1
    assert messages[0].startswith(REFUSALS[name][1])


@pytest.mark.parametrize(
    ("launcher", "how"), list_params(("mpi", "script"), ("gloo", "script"), ("gloo", "group"))
)
def test_a_rank_that_fails_ends_all(launcher, how):
    """Of a script, from `init` on; the others would wait for ever."""
    script = Path(__file__).with_name("failing_rank.py")
    outcome = launched.launch(launcher, 3, script, how, timeout=60.0)
    assert outcome.out.count("has joined") == 3
    assert outcome.status == 1
    assert outcome.err.count("RuntimeError: this rank has failed") == 1, outcome.err


@pytest.mark.parametrize(
    ("launcher", "message"),
    list_params(
        ("mpi", "waits for another rank, which has ended"),
        ("gloo", "has ended without calling what this one calls"),
    ),
)
def test_a_rank_that_ends_leaves_none_waiting(launcher, message):
    """As of a script that trains on rank 0 alone."""
    script = Path(__file__).with_name("failing_rank.py")
    outcome = launched.launch(launcher, 3, script, "leaves", timeout=60.0)
    assert outcome.status == 1
    assert message in outcome.err, outcome.err


@pytest.mark.needs("torch")
def test_the_process_group_is_shut_down_before_the_end(tmp_path):
    """What is left to the end of Python aborts some processes: `terminate called without ...`."""
    script = tmp_path / "script.py"
    script.write_text(
        "import atexit\n"
        "import torch.distributed as dist\n"
        "import anyback_nn as nn\n"
        "atexit.register(lambda: print('set up' if dist.is_initialized() else 'shut down'))\n"
        "nn.distributed.init()\n"
        "print('set up' if dist.is_initialized() else 'shut down')\n"
    )
    outcome = launched.launch("gloo", 2, script)
    assert outcome.status == 0, outcome.err
    assert (outcome.out.count("set up"), outcome.out.count("shut down")) == (2, 2)
