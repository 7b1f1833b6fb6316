"""Every function that can be traced, against the library's own through the standard's names."""

from __future__ import annotations

from inspect import signature

import numpy as np
import pytest
from traced_steps import BINARY, UNARY, assert_same

import anyback_nn as nn
from anyback_nn.array_api import to_numpy
from anyback_nn.jit.dispatch import CALLS_BEFORE_TRACING, Traced
from anyback_nn.jit.scan import TracedScan

RNG = np.random.default_rng(0)
X = RNG.uniform(0.1, 2.0, (6, 4))
Y = RNG.uniform(0.1, 2.0, (6, 4))
TRUE = X > 1.0
CALLS = {
    **{name: lambda xp, x, y, true, name=name: getattr(xp, name)(x) for name in UNARY},
    **{name: lambda xp, x, y, true, name=name: getattr(xp, name)(x, y) for name in BINARY},
    **{
        f"{name} {options}": lambda xp, x, y, true, name=name, options=options: getattr(xp, name)(
            x, **options
        )
        for name in ("sum", "mean", "max", "min")
        for options in (
            {},
            {"axis": 0},
            {"axis": -1, "keepdims": True},
            {"axis": (0, 1), "keepdims": True},
            {"keepdims": True},
        )
    },
    "all": lambda xp, x, y, true: xp.all(true, axis=0),
    "any": lambda xp, x, y, true: xp.any(true, axis=-1),
    "and": lambda xp, x, y, true: xp.logical_and(true, x > y) & ~true,
    "or": lambda xp, x, y, true: xp.logical_or(true, x > y) | xp.logical_not(true),
    "argmax": lambda xp, x, y, true: xp.argmax(x, axis=1),
    "astype": lambda xp, x, y, true: xp.astype(true, x.dtype) + xp.astype(x > 1.0, x.dtype),
    "astype of a view": lambda xp, x, y, true: xp.astype(xp.matrix_transpose(x > y), x.dtype),
    "astype of what is read again": lambda xp, x, y, true: (
        xp.where(larger := x > y, x, y) * xp.astype(larger, x.dtype)
    ),
    "broadcast_to": lambda xp, x, y, true: xp.broadcast_to(x[:1, :], (6, 4)) + y,
    "vecdot": lambda xp, x, y, true: xp.vecdot(x, y) * xp.vecdot(x - y, x),
    "concat": lambda xp, x, y, true: xp.concat(
        [xp.reshape(x, (-1,)), xp.reshape(x @ xp.matrix_transpose(y), (-1,))]
    ),
    "concat of rows": lambda xp, x, y, true: xp.concat([x, y * 2.0], axis=1),
    "divide a number": lambda xp, x, y, true: 0.3 / x,
    "expand_dims": lambda xp, x, y, true: xp.squeeze(xp.expand_dims(x, axis=0) * 2.0, axis=0),
    "in place": lambda xp, x, y, true: in_place(x * 1.0, y),
    "like": lambda xp, x, y, true: xp.ones_like(x) * x + xp.zeros_like(y) - xp.full_like(y, 3.0),
    "matmul": lambda xp, x, y, true: xp.matmul(x, xp.matrix_transpose(y)),
    "number first": lambda xp, x, y, true: 2.0 - 3.0 * x,
    "powers": lambda xp, x, y, true: x**2 + x**3 + x**1.5 + x**y,
    "reshape that copies": lambda xp, x, y, true: xp.reshape(xp.matrix_transpose(x), (3, 8)),
    "take": lambda xp, x, y, true: xp.take(x, xp.argmax(x, axis=0), axis=0),
    "where": lambda xp, x, y, true: xp.where(true, x, 0.5) + xp.where(x > y, x, y),
}


def in_place(x, y):
    x += y
    x -= 0.25
    x *= y
    x /= y + 1.0
    return x


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_functions(backend, dtype, call, programs):
    arrays = [backend.asarray(x, dtype) for x in (X, Y)] + [backend.asarray(TRUE)]
    others = [backend.asarray(x[::-1].copy(), dtype) for x in (X, Y)]
    others += [backend.asarray(TRUE[::-1].copy())]

    def step(x, y, true):
        return (call(nn.array_namespace(x), x, y, true),)

    traced = backend.jit(step, replay=True)
    for _ in range(CALLS_BEFORE_TRACING + 2):
        traced(*arrays)
    assert len(programs) == 1
    assert_same(traced(*others), step(*others))


@pytest.mark.parametrize(
    "call",
    [
        lambda xp, x: xp.sum(xp.astype(x, xp.int32)),
        lambda xp, x: xp.sum(x, axis=()),
        lambda xp, x: xp.argmax(x, axis=1, keepdims=True),
        lambda xp, x: xp.astype(x, x.dtype, copy=False) * 2.0,
        lambda xp, x: x**-1,
    ],
)
def test_functions_that_some_libraries_trace(backend, finest, call):
    def step(x):
        return (call(nn.array_namespace(x), x),)

    traced, x = backend.jit(step, replay=True), backend.asarray(X, finest)
    for _ in range(CALLS_BEFORE_TRACING + 2):
        assert_same(traced(x), step(x))


def test_a_scan_is_the_same_as_one_step_after_the_other(backend, finest, programs):
    def step(total, mean, x, rate, row):
        total += rate * nn.array_namespace(x).take(x, row, axis=0)
        return total, mean * 0.5 + total, (total * 2.0, mean)

    x = backend.asarray(X, finest)
    xs = [(float(i), np.asarray([i % 6, 2])) for i in range(20)]

    def begin():
        return backend.asarray(np.zeros((2, 4)), finest), backend.asarray(np.ones((2, 4)), finest)

    carried, results = backend.scan(step, donate=(0,))(begin(), (x,), xs)
    expected = begin()
    for i, (rate, row) in enumerate(xs):
        *expected, right = step(*expected, x, rate, backend.asarray(row))
        assert_same([result[i, ...] for result in results], right)
    assert_same(carried, expected)
    assert len(programs) == 1


def test_what_cannot_be_traced_is_scanned_too(backend, finest, programs):
    def step(total, x, rate):
        if float(to_numpy(nn.array_namespace(x).sum(x))) > 0:
            total = total + rate * x
        return total, (total,)

    x = backend.asarray([1.0, 2.0], finest)
    (total,), (results,) = backend.scan(step)((x * 0.0,), (x,), [(float(i),) for i in range(6)])
    assert to_numpy(total).tolist() == [15.0, 30.0]
    assert to_numpy(results[-1, ...]).tolist() == [15.0, 30.0]
    assert not programs


def test_traced_and_scan_take_the_same_parameters():
    assert [*signature(Traced).parameters, "convert"] == list(signature(TracedScan).parameters)
