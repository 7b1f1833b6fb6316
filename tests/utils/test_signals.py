"""Signals that wait."""

import signal

import pytest

from anyback_nn.utils.signals import catch_signals

HELD = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def came():
    """The signals that came, as the handlers outside of the context see them."""
    came, before = [], {number: signal.getsignal(number) for number in HELD}
    for number in HELD:
        signal.signal(number, lambda number, frame: came.append(number))
    yield came
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", HELD)
@pytest.mark.parametrize("fails", [False, True])
def test_a_signal_comes_after_the_context(came, number, fails):
    try:
        with catch_signals():
            signal.raise_signal(number)
            assert not came
            if fails:
                raise OSError("disk full")
    except OSError:
        assert fails
    assert came == [number]


def test_a_second_one_does_not_wait(came):
    with catch_signals():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert came == [signal.SIGTERM]


def test_what_is_ignored_stays_so(came):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with catch_signals():
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    assert not came


@pytest.mark.parametrize("error", [None, OSError])
def test_sigterm_ends_with_clean_up(came, error):
    def run():
        with catch_signals():
            signal.raise_signal(signal.SIGTERM)
            if error is not None:
                raise error

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with pytest.raises(SystemExit) as caught:
        run()
    assert caught.value.code == 143


def test_a_handler_of_sighup_is_called(came):
    before = signal.signal(signal.SIGHUP, lambda number, frame: came.append("again"))
    try:
        with catch_signals() as held:
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (came, held) == (["again"], [])
