"""Trees of arrays: nested dicts and tuples, as layers keep their parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from anyback_nn.array_api import array_namespace, is_numpy

__all__ = [
    "ReadOnlyDict",
    "tree_copy",
    "tree_flatten",
    "tree_freeze",
    "tree_leaves",
    "tree_map",
    "tree_named_leaves",
    "tree_stack",
]


def tree_flatten(tree: Any) -> tuple[list[Any], tuple[Any, ...]]:
    """Return the leaves of a tree, in order, and its structure, which can be compared and hashed.

    Examples
    --------
    >>> leaves, structure = tree_flatten(({"weight": 1, "bias": 2}, 3))
    >>> leaves, structure == tree_flatten(({"weight": 4, "bias": 5}, 6))[1]
    ([1, 2, 3], True)
    """
    leaves: list[Any] = []
    structure: list[Any] = []
    _flatten(tree, leaves, structure)
    return leaves, tuple(structure)


def tree_leaves(tree: Any) -> list[Any]:
    """List the leaves of a tree, in order."""
    leaves: list[Any] = []
    _flatten(tree, leaves, None)
    return leaves


def _flatten(tree: Any, leaves: list[Any], structure: list[Any] | None) -> None:
    # Called in each step: generators would be slower.
    if isinstance(tree, tuple):
        if structure is not None:
            structure.append(len(tree))
        for branch in tree:
            _flatten(branch, leaves, structure)
    elif isinstance(tree, dict):
        if structure is not None:
            structure.append(tuple(tree))
        for branch in tree.values():
            _flatten(branch, leaves, structure)
    else:
        leaves.append(tree)
        if structure is not None:
            structure.append(None)


def tree_map(function: Callable[[Any], Any], tree: Any) -> Any:
    """Apply a function to every leaf and keep the structure of the tree.

    Examples
    --------
    >>> tree_map(abs, ({"weight": -1}, {}))
    ({'weight': 1}, {})
    """
    if isinstance(tree, dict):
        return {name: tree_map(function, branch) for name, branch in tree.items()}
    if isinstance(tree, tuple):
        return tuple([tree_map(function, branch) for branch in tree])
    return function(tree)


def tree_copy(tree: Any) -> Any:
    """Copy every array of a tree."""
    return tree_map(lambda x: array_namespace(x).asarray(x, copy=True), tree)


class ReadOnlyDict(dict[str, Any]):
    """A dict of a copy of parameters: writing into it, which would change nothing, is refused."""

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            "params is a copy, so that writing into it would not change the model. Assign all "
            "parameters, model.params = tree; tree_map(function, model.params) creates a new tree"
        )

    __setitem__ = __delitem__ = __ior__ = _refuse
    update = setdefault = pop = popitem = clear = _refuse

    def __reduce__(self) -> Any:
        """Be a plain dict in a copy."""
        return dict, (dict(self),)


def tree_freeze(tree: Any) -> Any:
    """Make a tree read-only, and its arrays where they are NumPy's.

    Examples
    --------
    >>> import numpy as np
    >>> tree_freeze(({"weight": np.ones(2)},))[0]["weight"].flags.writeable
    False
    """
    if isinstance(tree, dict):
        return ReadOnlyDict({name: tree_freeze(branch) for name, branch in tree.items()})
    if isinstance(tree, tuple):
        return tuple(map(tree_freeze, tree))
    if is_numpy(tree):
        tree.flags.writeable = False
    return tree


def tree_stack(trees: Sequence[Any]) -> Any:
    """Stack trees of one structure: arrays get a new first axis, floats become a list.

    Examples
    --------
    >>> import numpy as np
    >>> tree_stack([({"a": np.zeros(2)}, None), ({"a": np.ones(2)}, None)])
    ({'a': array([[0., 0.], [1., 1.]])}, None)
    """
    first = trees[0]
    if isinstance(first, dict):
        return {name: tree_stack([tree[name] for tree in trees]) for name in first}
    if isinstance(first, tuple):
        return tuple(tree_stack(branches) for branches in zip(*trees))
    if type(first) is float:  # not NumPy's float64, which is an array
        return list(trees)
    return None if first is None else array_namespace(first).stack(trees)


def tree_named_leaves(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Return the leaves of a tree, keyed by their paths.

    Examples
    --------
    >>> tree_named_leaves(({"weight": 1, "bias": 2}, {}, {"scale": 3}))
    {'0.weight': 1, '0.bias': 2, '2.scale': 3}
    """
    if not isinstance(tree, dict | tuple):
        return {prefix: tree}
    branches = tree.items() if isinstance(tree, dict) else enumerate(tree)
    return {
        name: leaf
        for key, branch in branches
        for name, leaf in tree_named_leaves(
            branch, f"{prefix}.{key}" if prefix else str(key)
        ).items()
    }
