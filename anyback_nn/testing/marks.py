"""The marks of the plugin, and the backend that a test runs on."""

from __future__ import annotations

from typing import Any

import pytest

from anyback_nn.backends import BACKENDS, Backend

__all__ = ["MARKERS", "apply_marks", "find_backend", "list_functions"]

ACTIONS = {"skip_backends": pytest.mark.skip, "xfail_backends": pytest.mark.xfail(strict=True)}
"""The marks that name backends, and what becomes of a test there."""

MARKERS = (
    "skip_backends(*names, reason): skip on these backends",
    "xfail_backends(*names, reason): xfail on these backends",
    "touches_no_array(reason): the test takes xp, and is right to touch none of its arrays",
    "under_test(*names): the functions that the test is about, for --backend-report",
)


def find_backend(item: pytest.Item) -> Backend | None:
    """Return the backend that a test runs on; None if it depends on none."""
    callspec = getattr(item, "callspec", None)
    backend = callspec.params.get("backend") if callspec else None
    return backend if isinstance(backend, Backend) else None


def apply_marks(item: pytest.Item) -> None:
    """Skip a test or expect it to fail, as its marks say; fail if one of them is wrong."""
    backend = find_backend(item)
    for name, action in ACTIONS.items():
        for mark in item.iter_markers(name):
            names, reason = _read_names(mark, item.nodeid)
            if backend is not None and names & {backend.spec, backend.name}:
                item.add_marker(action.with_args(reason=reason))
    for mark in item.iter_markers("touches_no_array"):
        if mark.args or list(mark.kwargs) != ["reason"] or not _is_text(mark.kwargs["reason"]):
            _fail(mark, item.nodeid, f'expected a reason, (reason="..."), got {_describe(mark)}')
    list_functions(item)


def list_functions(item: pytest.Item) -> list[str]:
    """Return the functions that a test is about, by the nearest marks; without marks, itself."""
    nearest: dict[Any, set[str]] = {}
    for node, mark in item.iter_markers_with_node("under_test"):
        if mark.kwargs or not mark.args or not all(map(_is_text, mark.args)):
            _fail(mark, item.nodeid, f'expected names, ("softmax"), got {_describe(mark)}')
        nearest.setdefault(node, set()).update(mark.args)
    return sorted(next(iter(nearest.values()), {item.nodeid.partition("[")[0]}))


def _read_names(mark: pytest.Mark, test: str) -> tuple[set[str], str]:
    """Return the names and the reason of a mark; fail if they are wrong."""
    words = (*mark.args, mark.kwargs.get("reason"))
    if len(mark.kwargs) != 1 or len(words) < 2 or not all(map(_is_text, words)):
        expected = 'expected names of backends and a reason, ("torch", reason="..."), got '
        _fail(mark, test, expected + _describe(mark))
    for name in mark.args:
        if name.partition(":")[0] not in BACKENDS:
            wrong = (
                f"unknown backend {name!r}: expected NAME or NAME:DEVICE with NAME one of "
                f"{', '.join(BACKENDS)}"
            )
            _fail(mark, test, wrong)
    return set(mark.args), words[-1]


def _is_text(word: object) -> bool:
    return isinstance(word, str) and word != ""


def _describe(mark: pytest.Mark) -> str:
    return f"{mark.args} and {mark.kwargs}"


def _fail(mark: pytest.Mark, test: str, wrong: str) -> Any:
    pytest.fail(f"{test}: @pytest.mark.{mark.name}: {wrong}", pytrace=False)
