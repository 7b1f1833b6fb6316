"""A cluster of dask on this machine."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def cluster():
    """Two processes with one thread each."""
    from distributed import LocalCluster  # not all tests here need it

    options = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(n_workers=2, threads_per_worker=1, **options) as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    """A client of the cluster, where dask computes from now on."""
    from distributed import Client

    with Client(cluster) as client:
        yield client
