"""Parameters as a tree of named arrays, and how they are stored.

Layers see a dict of arrays each, and networks a tuple of those: a tree. An optimiser sees the
*storage*, a tuple of arrays that all play the same role:

- *packed*: one vector, of which the layers' arrays are views. An update is then a handful of
  operations however many layers there are; on a GPU each operation is a kernel launch.
- *separate*: one array a parameter. Right for JAX on the CPU, where slices of a vector are slow
  operands of a matrix product.

A `Layout` goes between the two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from array_api_compat import device

from anyback_nn.backend import array_namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from anyback_nn.backend import Array

__all__ = ["Layout", "Leaf", "Storage", "leaves", "map_leaves", "named", "stacked"]

Storage = tuple[Any, ...]
"""The parameters, or anything of the same shape, as the optimiser sees them."""


def leaves(tree: Any) -> Iterator[Any]:
    """Go through the leaves of a tree of dicts and tuples, in order."""
    if isinstance(tree, dict | tuple):
        for branch in tree.values() if isinstance(tree, dict) else tree:
            yield from leaves(branch)
    else:
        yield tree


def map_leaves(function: Callable[[Any], Any], tree: Any) -> Any:
    """Apply a function to every leaf and keep the tree's form.

    Examples
    --------
    >>> map_leaves(abs, ({"weight": -1}, {}))
    ({'weight': 1}, {})
    """
    if isinstance(tree, dict):
        return {name: map_leaves(function, branch) for name, branch in tree.items()}
    if isinstance(tree, tuple):
        return tuple([map_leaves(function, branch) for branch in tree])
    return function(tree)


def stacked(trees: Sequence[Any]) -> Any:
    """Stack trees of arrays of one form: each array gets a first axis, numbers are listed.

    Examples
    --------
    >>> import numpy as np
    >>> stacked([({"a": np.zeros(2)}, None), ({"a": np.ones(2)}, None)])
    ({'a': array([[0., 0.], [1., 1.]])}, None)
    """
    first = trees[0]
    if isinstance(first, dict):
        return {name: stacked([tree[name] for tree in trees]) for name in first}
    if isinstance(first, tuple):
        return tuple(stacked(branches) for branches in zip(*trees))
    if type(first) is float:  # and not one of NumPy's
        return list(trees)
    return None if first is None else array_namespace(first).stack(trees)


def named(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Give every leaf the name of its path.

    Examples
    --------
    >>> named(({"weight": 1, "bias": 2}, {}, {"scale": 3}))
    {'0.weight': 1, '0.bias': 2, '2.scale': 3}
    """
    if not isinstance(tree, dict | tuple):
        return {prefix: tree}
    branches = tree.items() if isinstance(tree, dict) else enumerate(tree)
    return {
        name: leaf
        for key, branch in branches
        for name, leaf in named(branch, f"{prefix}.{key}" if prefix else str(key)).items()
    }


@dataclass(frozen=True)
class Leaf:
    """Where one parameter lies.

    Attributes
    ----------
    name : str
        Its path, such as ``"0.weight"``.
    shape : tuple of int
    index : int
        Its place among the parameters.
    start, stop : int
        Its part of the packed vector.
    """

    name: str
    shape: tuple[int, ...]
    index: int
    start: int
    stop: int

    @property
    def penalized(self) -> bool:
        """Whether L1, L2 and weight decay act on it: weights, not biases and normalisations."""
        return self.name.rpartition(".")[2] == "weight"


@dataclass(frozen=True)
class Layout:
    """The way between a tree of parameters and its storage.

    Attributes
    ----------
    tree : nested tuples and dicts of Leaf
    packed : bool
        Whether the storage is one vector.

    Examples
    --------
    >>> import numpy as np
    >>> params = ({"weight": np.ones((2, 3)), "bias": np.zeros((3,))},)
    >>> layout = Layout.of(params, packed=True)
    >>> [array.shape for array in layout.store(params)]
    [(9,)]
    >>> layout.restore(layout.store(params))[0]["weight"].shape
    (2, 3)
    """

    tree: Any
    packed: bool

    @classmethod
    def of(cls, params: Any, packed: bool) -> Layout:
        """Make the layout of these parameters."""
        names = iter(named(params).items())
        position = index = 0

        def leaf(_: Array) -> Leaf:
            nonlocal position, index
            name, array = next(names)
            shape = tuple(array.shape)
            start, position = position, position + math.prod(shape)
            index += 1
            return Leaf(name, shape, index - 1, start, position)

        return cls(map_leaves(leaf, params), packed)

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """Every parameter's place, in order."""
        return tuple(leaves(self.tree))

    @property
    def size(self) -> int:
        """The number of parameters."""
        return sum(leaf.stop - leaf.start for leaf in self.leaves)

    def store(self, tree: Any) -> Storage:
        """Put a tree of arrays into storage, by their names; packing copies them."""
        arrays = tuple(_at(tree, path) for path in self._paths)
        if not self.packed or not arrays:
            return arrays
        xp = array_namespace(arrays[0])
        flat = [array if array.ndim == 1 else xp.reshape(array, (-1,)) for array in arrays]
        return (xp.concat(flat),)

    @cached_property
    def _paths(self) -> tuple[tuple[Any, ...], ...]:
        """How to get to every parameter in a tree."""
        return tuple(_paths_in(self.tree))

    def restore(self, storage: Storage) -> Any:
        """Make the tree of a storage; of a packed one, the arrays are views where they can be."""
        if not self.packed:
            return map_leaves(lambda leaf: storage[leaf.index], self.tree)
        if not storage:
            return self.tree
        (vector,) = storage
        xp = array_namespace(vector)

        def view(leaf: Leaf) -> Array:
            part = vector[leaf.start : leaf.stop]
            return part if len(leaf.shape) == 1 else xp.reshape(part, leaf.shape)

        return map_leaves(view, self.tree)

    def mask(self, storage: Storage, *, everything: bool = False) -> Storage:
        """Mark in storage, by ones among zeros, which parameters the penalties act on.

        Parameters
        ----------
        storage : tuple of array
            Parameters, for the dtype and the device.
        everything : bool
            Mark all of them.
        """

        def mark(leaf: Leaf) -> float:
            return 1.0 if everything or leaf.penalized else 0.0

        if not self.packed or not storage:
            return tuple(mark(leaf) for leaf in self.leaves)
        (vector,) = storage
        xp = array_namespace(vector)
        options = {"dtype": vector.dtype, "device": device(vector)}
        parts = [xp.full((leaf.stop - leaf.start,), mark(leaf), **options) for leaf in self.leaves]
        return (xp.concat(parts),)


def _paths_in(tree: Any) -> Iterator[tuple[Any, ...]]:
    """List the positions and names on the way to each leaf of a tree."""
    if isinstance(tree, dict | tuple):
        for key, branch in tree.items() if isinstance(tree, dict) else enumerate(tree):
            for path in _paths_in(branch):
                yield key, *path
    else:
        yield ()


def _at(tree: Any, path: tuple[Any, ...]) -> Any:
    """Go to a leaf."""
    for key in path:
        tree = tree[key]
    return tree
