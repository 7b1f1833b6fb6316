"""Programs are collected: which steps are traced, how often they are replayed, what is refused."""

import numpy as np
import pytest

import anyback_nn as nn
from anyback_nn.jit import dispatch
from anyback_nn.jit.program import Program
from anyback_nn.testing import collect_programs


def call(step, times=5):
    traced = nn.select("numpy").jit(step, replay=True)
    for _ in range(times):
        traced(np.ones(3))


def test_programs_and_their_replays():
    with collect_programs() as (programs, refusals):
        call(lambda x: (x + 1.0,))
        call(lambda x: (x * 2.0,), times=7)
    assert ([program.runs for program in programs], refusals) == ([2, 4], [])


def test_refusals():
    with collect_programs() as (programs, refusals):
        call(lambda x: (x * float(x[0]),))
    assert (programs, refusals) == ([], ["TraceError: a value that is read"])


def test_nothing_is_collected_afterwards():
    with pytest.raises(ZeroDivisionError), collect_programs() as (programs, _):
        raise ZeroDivisionError
    call(lambda x: (x + 1.0,))
    assert programs == []
    assert dispatch.Program is Program
