"""Our networks of dense layers with ReLU, as users build them."""

from __future__ import annotations

from typing import Any

import anyback_nn as nn
from benchmarks.peers.workloads import MOMENTUM, RATES, Workload


def make_model(workload: Workload, backend: Any = "numpy") -> nn.Model:
    """Create the network of a row of the table, which records its loss alone."""
    layers: list[Any] = []
    for n in workload.sizes[1:-1]:
        layers.append(nn.Dense(n))
        layers += [nn.BatchNorm()] if workload.batch_norm else []
        layers.append(nn.ReLU())
        layers += [nn.Dropout(workload.dropout)] if workload.dropout else []
    layers.append(nn.Dense(workload.sizes[-1]))
    return nn.Model(*layers, loss=nn.SoftmaxCrossEntropy(), backend=backend, metrics=())


def make_optimizer(workload: Workload) -> nn.Optimizer:
    """Create the optimiser of a row of the table."""
    rate = RATES[workload.optimizer]
    return nn.Adam(rate) if workload.optimizer == "adam" else nn.Momentum(rate, MOMENTUM)
