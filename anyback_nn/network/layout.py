"""The packed form of the parameters of a network, as an optimiser sees them.

A layer sees a dict of arrays, and a network a tuple of those: a tree. An optimiser sees a tuple of
arrays that all play the same role:

- *packed*: one vector, of which the layers' arrays are views. An update then takes few operations,
  whatever the number of layers; on a GPU each operation is a kernel launch.
- *separate*: one array per parameter. This suits JAX on the CPU, where slices of a vector are slow
  operands of a matrix product.

A `Layout` converts between the two.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from array_api_compat import device

from anyback_nn.array_api import Array, array_namespace
from anyback_nn.errors import ShapeError
from anyback_nn.tree import tree_leaves, tree_map, tree_named_leaves

__all__ = ["Layout", "Leaf", "Packed"]

Packed = tuple[Any, ...]
"""The parameters, or arrays of the same shapes, as the optimiser sees them."""


@dataclass(frozen=True)
class Leaf:
    """The place of one parameter.

    Attributes
    ----------
    name : str
        Its path, such as ``"0.weight"``.
    shape : tuple of int
    index : int
        Its position among the parameters.
    start, stop : int
        Its slice of the packed vector.
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
    """The conversion between a tree of parameters and its packed form.

    Attributes
    ----------
    tree : nested tuples and dicts of Leaf
    packed : bool
        Whether the packed form is one vector.

    Examples
    --------
    >>> import numpy as np
    >>> params = ({"weight": np.ones((2, 3)), "bias": np.zeros((3,))},)
    >>> layout = Layout.of(params, packed=True)
    >>> [array.shape for array in layout.pack(params)]
    [(9,)]
    >>> layout.unpack(layout.pack(params))[0]["weight"].shape
    (2, 3)
    """

    tree: Any
    packed: bool

    @classmethod
    def of(cls, params: Any, packed: bool) -> Layout:
        """Create the layout of a tree of parameters."""
        leaves, stop = [], 0
        for index, (name, array) in enumerate(tree_named_leaves(params).items()):
            start, stop = stop, stop + math.prod(array.shape)
            leaves.append(Leaf(name, tuple(array.shape), index, start, stop))
        in_order = iter(leaves)
        return cls(tree_map(lambda _: next(in_order), params), packed)

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        """The places of all parameters, in order."""
        return tuple(tree_leaves(self.tree))

    @property
    def size(self) -> int:
        """The number of parameters."""
        return sum(leaf.stop - leaf.start for leaf in self.leaves)

    def pack(self, tree: Any) -> Packed:
        """Pack a tree of arrays, by their names; several are copied into one vector."""
        try:
            arrays = tuple(_get_leaf(tree, path) for path in self._paths)
        except KeyError as missing:
            names = ", ".join(tree_named_leaves(tree)) or "none"
            raise ShapeError(
                f"expected an array for each parameter; {missing} of a layer is missing, there are "
                f"{names}. The backward of a layer returns a gradient for each parameter of its "
                "init, under the same name"
            ) from None
        if not self.packed or not arrays:
            return arrays
        xp = array_namespace(arrays[0])
        flat = [array if array.ndim == 1 else xp.reshape(array, (-1,)) for array in arrays]
        return (xp.concat(flat),)

    @cached_property
    def _paths(self) -> tuple[tuple[Any, ...], ...]:
        """The paths of all parameters in a tree."""
        return tuple(_iterate_paths(self.tree))

    def unpack(self, packed: Packed) -> Any:
        """Return the tree of a packed form; its arrays are views of one vector where possible."""
        if not self.packed:
            return tree_map(lambda leaf: packed[leaf.index], self.tree)
        if not packed:
            return self.tree
        (vector,) = packed
        xp = array_namespace(vector)

        def view(leaf: Leaf) -> Array:
            part = vector[leaf.start : leaf.stop]
            return part if len(leaf.shape) == 1 else xp.reshape(part, leaf.shape)

        return tree_map(view, self.tree)

    def penalty_mask(self, params: Packed, *, everything: bool = False) -> Packed:
        """Create a mask: 1 for parameters that penalties act on, else 0.

        Parameters
        ----------
        params : tuple of array
            Packed parameters, whose dtype and device the mask has.
        everything : bool
            Whether penalties act on all parameters.
        """

        def mark(leaf: Leaf) -> float:
            return 1.0 if everything or leaf.penalized else 0.0

        if not self.packed or not params:
            return tuple(mark(leaf) for leaf in self.leaves)
        (vector,) = params
        xp = array_namespace(vector)
        options = {"dtype": vector.dtype, "device": device(vector)}
        parts = [xp.full((leaf.stop - leaf.start,), mark(leaf), **options) for leaf in self.leaves]
        return (xp.concat(parts),)


def _iterate_paths(tree: Any) -> Iterator[tuple[Any, ...]]:
    """Iterate over the paths to the leaves of a tree, each of indices and names."""
    if isinstance(tree, dict | tuple):
        for key, branch in tree.items() if isinstance(tree, dict) else enumerate(tree):
            for path in _iterate_paths(branch):
                yield key, *path
    else:
        yield ()


def _get_leaf(tree: Any, path: tuple[Any, ...]) -> Any:
    """Return the leaf at a path."""
    for key in path:
        tree = tree[key]
    return tree
