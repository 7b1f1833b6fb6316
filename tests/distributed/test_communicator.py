"""What ranks know of each other; the ranks are threads here."""

import copy
import pickle

import numpy as np
import pytest
from array_api_compat import device
from rank_threads import compute_together
from sklearn.base import clone

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.distributed import Communicator
from anyback_nn.sklearn import MLPClassifier

each_size = pytest.mark.parametrize("size", [1, 2, 3, 4])


class Rank(Communicator):
    def __init__(self, rank, size):
        self.rank, self.size = rank, size


@pytest.mark.parametrize("size", range(1, 10))
def test_shares_cover_all_rows_once_in_order(size):
    for n_rows in range(25):
        parts = [range(n_rows)[Rank(rank, size).share(n_rows)] for rank in range(size)]
        assert [row for part in parts for row in part] == [*range(n_rows)]
        lengths = [len(part) for part in parts]
        assert lengths == sorted(lengths, reverse=True)
        assert max(lengths) - min(lengths) <= 1


@each_size
@pytest.mark.parametrize("n_rows", [1, 2, 7])
@pytest.mark.parametrize("kind", ["float32", "int32"])
def test_each_rank_gathers_all_rows(size, n_rows, kind, backend):
    values = np.arange(3 * n_rows).reshape(n_rows, 3).astype(kind)

    def gather(ranks):
        own = backend.asarray(values[ranks.share(n_rows)])
        return ranks.gather(own, n_rows)

    with backend.scope("float32"):
        for rows in compute_together(size, gather):
            assert backend.owns(rows)
            assert device(rows) == backend.device
            np.testing.assert_array_equal(to_numpy(rows), values, strict=True)


def test_nothing_is_gathered_of_nothing():
    assert compute_together(2, lambda ranks: ranks.gather(None, 5)) == [None, None]


@each_size
def test_a_number_of_each_rank(size):
    collected = compute_together(size, lambda ranks: ranks.collect(0.1 * ranks.rank))
    assert collected == [[0.1 * rank for rank in range(size)]] * size


def test_a_copy_is_the_same_and_another_process_is_alone():
    ranks = Rank(1, 3)
    assert copy.copy(ranks) is copy.deepcopy(ranks) is ranks
    mlp = MLPClassifier(distributed=ranks)
    assert clone(mlp).distributed is copy.deepcopy(mlp).distributed is ranks
    for pickled in (pickle.dumps(ranks), pickle.dumps(mlp)):
        there = pickle.loads(pickled)
        alone = getattr(there, "distributed", there)
        assert (type(alone), alone.rank, alone.size) == (Communicator, 0, 1)


@pytest.mark.parametrize("call", ["fit", "evaluate", "predict"])
def test_the_name_of_a_launcher_is_refused(call):
    x, y = np.eye(4, dtype="float32"), np.arange(4)
    model = nn.Model(nn.Dense(4), loss=nn.SoftmaxCrossEntropy()).build(4)
    arguments = (x,) if call == "predict" else (x, y)
    with pytest.raises(TypeError, match=r"distributed: expected .*init\(\) returns, got str"):
        getattr(model, call)(*arguments, distributed="mpi")
