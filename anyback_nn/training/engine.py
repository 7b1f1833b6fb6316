"""A network on a backend: its parameters, their layout and its compiled computations."""

from __future__ import annotations

import contextlib
import gc
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from threading import RLock
from typing import Any, NamedTuple, Self
from weakref import WeakSet, WeakValueDictionary

import numpy as np

from anyback_nn.array_api import to_numpy
from anyback_nn.backends import Backend, list_imported, select
from anyback_nn.distributed import Communicator
from anyback_nn.errors import AnybackError, BackendUnavailableError, ShapeError
from anyback_nn.inputs.checks import check_compute_dtype, check_dtype
from anyback_nn.jit.dispatch import Traced
from anyback_nn.jit.scan import TracedScan
from anyback_nn.network.layer import Layer
from anyback_nn.network.layout import Layout, Packed
from anyback_nn.network.losses import Loss
from anyback_nn.network.network import Network
from anyback_nn.network.precision import mix_precision
from anyback_nn.optim.optimizers import Optimizer
from anyback_nn.random import Random, generator
from anyback_nn.training.custom import Recompiled, custom_parts, is_own
from anyback_nn.training.history import History
from anyback_nn.training.metrics import EpochMetric, Metric, check_metrics, name_metric
from anyback_nn.training.mixed_precision import LOSS_SCALE, LossScaling
from anyback_nn.training.state import TrainingState
from anyback_nn.training.step import DividedStep, Halves, Step, build_halves, build_step_on_rows
from anyback_nn.tree import tree_copy, tree_freeze, tree_map, tree_named_leaves
from anyback_nn.utils.arguments import as_integer, to_python_scalars
from anyback_nn.utils.memory import return_memory

__all__ = ["CompiledSteps", "Engine", "LayerSummary", "choose_compute_dtype", "clear_compiled"]


class LayerSummary(NamedTuple):
    """One row of `Engine.summary`."""

    layer: str
    output_shape: tuple[None, int]
    parameters: int


class CompiledSteps(NamedTuple):
    """The compiled steps of training.

    Attributes
    ----------
    step : callable
        Takes one step, see `anyback_nn.training.step.Step`.
    scan : callable, optional
        Takes many steps in one call, see `Backend.scan`; None if that is not faster.
    """

    step: Callable[..., Any]
    scan: Callable[..., Any] | None


NOT_PICKLED = ("lock", "_in_training", "_store")

MOST_REPLAYED = 4
"""The number of replayed steps and scans that a model keeps: those of two optimisers."""

MOST_OWN = 32
"""The number of functions that a model keeps which it does not share with others."""


class Store(dict[Any, Any]):
    """The compiled computations of one architecture on one backend."""


STORES: WeakValueDictionary[Any, Store] = WeakValueDictionary()
"""The stores of this process, which live as long as a model that uses them."""


@lru_cache(maxsize=8)
def _shared(*architecture: Any) -> Store:
    """Return the store of one architecture on one backend.

    The last ones live on without a model, for the next fold of a cross-validation, say.
    """
    return STORES.setdefault(architecture, Store())


ENGINES: WeakSet[Engine] = WeakSet()
"""The engines of this process."""


def clear_compiled() -> None:
    """Drop all that was compiled and traced in this process, and return its memory.

    What is needed again is compiled again. Models keep their parameters. The caches of JAX are
    cleared, too, with what other code has compiled by it.
    """
    for engine in list(ENGINES):
        engine.forget_compiled()
    _shared.cache_clear()
    STORES.clear()
    for backend in list_imported():
        backend.clear_caches()
    gc.collect()
    return_memory()


def _renew_locks() -> None:
    """Release the locks that another thread held when this process was forked: it is not here."""
    for engine in list(ENGINES):
        engine._create_locks()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_renew_locks)


class Engine:
    """A network with its parameters on a backend; for the arguments see `anyback_nn.Model`."""

    feature_names: tuple[str, ...] | None = None
    _store: Store | None = None
    """The shared store, held so that it lives as long as the model."""

    def __init__(
        self,
        *layers: Layer,
        loss: Loss,
        backend: str | Backend | None,
        seed: int,
        dtype: str,
        compute_dtype: str | None,
        metrics: Sequence[Metric | EpochMetric | str] | None,
    ) -> None:
        self.network = Network(*layers)
        self.loss: Loss = to_python_scalars(loss)
        self.backend = select(backend)
        self.seed = as_integer("seed", seed, least=0)
        self.dtype = check_dtype(dtype, self.backend)
        self.compute_dtype = check_compute_dtype(compute_dtype, self.dtype, self.backend)
        self.metrics = check_metrics(metrics, loss)
        self.n_in: int | None = None
        self._training: TrainingState | None = None
        self._create_locks()
        self.forget_compiled()

    def _create_locks(self) -> None:
        # A step holds the lock, and so does whatever reads the parameters, of which many steps
        # overwrite the memory.
        self.lock, self._in_training = RLock(), RLock()
        ENGINES.add(self)

    def begin_training(self) -> None:
        """Refuse to train in two threads at the same time; `end_training` must follow."""
        if not self._in_training.acquire(blocking=False):
            raise AnybackError(
                "the model is being trained in another thread: wait for it, or train a copy "
                "(copy.deepcopy)"
            )

    def end_training(self) -> None:
        """Let other threads train the model."""
        self._in_training.release()

    def __getstate__(self) -> dict[str, Any]:
        """Pickle NumPy arrays, which can be read anywhere, and no compiled function."""
        state = {name: value for name, value in self.__dict__.items() if name not in NOT_PICKLED}
        with self.lock:
            # Copies: what is read later must not change with the next step.
            training = self._training and self._training.map(lambda x: np.array(to_numpy(x)))
        return {**state, "_own_compiled": {}, "_replayed": {}, "_training": training}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Unpickle to the same backend, or to NumPy if that is not available."""
        self.__dict__.update(state)
        self._create_locks()
        self.forget_compiled()
        try:
            self.backend.check()
        except BackendUnavailableError as error:
            self.backend = select("numpy")
            warnings.warn(f"the model is on NumPy from now on, because: {error}", stacklevel=2)
        self.compute_dtype = choose_compute_dtype(
            state.get("compute_dtype"), self.dtype, self.backend
        )
        if self._training is not None:
            with self.backend.scope(self.dtype):
                self._training = self._training.map(self.backend.asarray).copy()

    # Parameters ------------------------------------------------------------------------------

    def build(self, n_in: int) -> Self:
        """Draw the initial parameters for inputs with ``n_in`` features."""
        self.init(n_in, Random(generator(self.seed, "weights"), self.backend, self.dtype))
        return self

    def init(self, n_in: int, draws: Random) -> None:
        """Create parameters and state from these random numbers."""
        n_in = as_integer("n_in", n_in, least=1)
        with self.backend.scope(self.dtype):
            params = self.network.init(n_in, draws)
            state = self.network.init_state(n_in, draws)
            self.layout = Layout.of(params, self.backend.packed)
            self.forget_compiled()
            before, self.n_in = self.n_in, n_in
            try:
                # A layer may return arrays that it keeps, or one array twice, so they are copied.
                # Packing several into one vector has done so.
                packed = self.layout.pack(params)
                if len(packed) == len(self.layout.leaves):
                    packed, state = self.copy_tree((packed, state))
                else:
                    state = self.copy_tree(state)
            except BaseException:
                self.n_in = before
                raise
            self._training = TrainingState(packed, state)

    def check_built(self) -> None:
        """Raise `AnybackError` if the model has no parameters yet."""
        if self._training is None:
            raise AnybackError(
                "the model has no parameters yet, because it does not know the number of input "
                "features: call fit, or build(n_in)"
            )

    @property
    def training(self) -> TrainingState:
        """Parameters, optimiser state and history."""
        self.check_built()
        assert self._training is not None
        return self._training

    @training.setter
    def training(self, state: TrainingState) -> None:
        self._training = state

    @property
    def n_inputs(self) -> int:
        """The number of input features; raises `AnybackError` if it is unknown."""
        self.check_built()
        assert self.n_in is not None
        return self.n_in

    @property
    def n_out(self) -> int:
        """The number of outputs."""
        return self.network.output_size(self.n_inputs)

    @property
    def params(self) -> Any:
        """A copy of the parameters as the layers see them: one dict of arrays per layer.

        Writing into the copy would change nothing, so that it is read-only where the library has
        such arrays. To change parameters, assign all of them: ``model.params = tree``.
        """
        with self.lock, self.backend.scope(self.dtype):
            packed = self.copy_tree(self.training.params)
            return tree_freeze(self.layout.unpack(packed))

    @params.setter
    def params(self, tree: Any) -> None:
        self.check_built()
        tree = tuple(tree) if isinstance(tree, list) else tree
        given = {name: tuple(np.shape(x)) for name, x in tree_named_leaves(tree).items()}
        expected = {leaf.name: leaf.shape for leaf in self.layout.leaves}
        if given != expected:
            raise ShapeError(f"params: expected arrays of shapes {expected}, got {given}")
        with self.backend.scope(self.dtype):
            arrays = tree_map(lambda x: self.backend.asarray(x, self.dtype), tree)
            self.training.params = self.copy_tree(self.layout.pack(arrays))

    @property
    def history(self) -> History:
        """The records of all epochs so far."""
        return self.training.history

    @property
    def metric_names(self) -> list[str]:
        """The names of the values that each step records, the loss first."""
        return ["loss", *map(name_metric, self.sample_metrics)]

    @property
    def sample_metrics(self) -> tuple[Any, ...]:
        """The metrics that have a value for each sample."""
        return tuple(m for m in self.metrics if not isinstance(m, EpochMetric))

    @property
    def epoch_metrics(self) -> tuple[EpochMetric, ...]:
        """The metrics that have one value for all samples."""
        return tuple(m for m in self.metrics if isinstance(m, EpochMetric))

    def summary(self) -> list[LayerSummary]:
        """Return the name, the output shape and the number of parameters of each layer."""
        sizes = self.network.sizes(self.n_inputs)[1:]
        counts = [
            sum(leaf.stop - leaf.start for leaf in tree_named_leaves(branch).values())
            for branch in self.layout.tree
        ]
        return [
            LayerSummary(repr(layer), (None, n_out), count)
            for layer, n_out, count in zip(self.network.layers, sizes, counts)
        ]

    # Compiled computations -------------------------------------------------------------------

    def copy_tree(self, tree: Any) -> Any:
        """Copy every array of a tree in one call, which JAX does not compile for each shape."""
        return self.get_compiled("copies", lambda: tree_copy)(tree)

    def set_optimizer(self, optimizer: Optimizer) -> None:
        """Train with an optimiser, which begins without a state unless it is the last one."""
        self.training = self.training.with_optimizer(optimizer, self.init_optimizer)

    def init_optimizer(self, optimizer: Optimizer) -> dict[str, Packed]:
        """Create the state of an optimiser, as JAX does in one call and not for each shape."""
        params = self.training.params
        if not is_own(optimizer):
            return optimizer.init(params)
        init = self.get_compiled(("init", optimizer.slots), lambda: optimizer.init)
        # What depends on no argument is free to move for JAX, which would compile steps twice.
        state: dict[str, Packed] = tree_map(self.backend.to_device, init(params))
        return state

    def compile_training_steps(self, optimizer: Optimizer, ranks: Communicator) -> CompiledSteps:
        """Return the compiled steps of training with an optimiser, in the compute dtype."""
        network, scaling = self.network, None
        if self.compute_dtype is not None:
            network = mix_precision(network, self.compute_dtype, self.dtype)
        if self.compute_dtype == "float16":
            scaling = LossScaling()
            scale = {LOSS_SCALE: scaling.init(self.backend, self.dtype)}
            self.training = replace(
                self.training, optimizer_state=scale | self.training.optimizer_state
            )
        parts = (network, self.loss, self.layout, optimizer, self.sample_metrics, scaling)
        return self.compile_steps(
            self.compute_dtype or "fit", optimizer, lambda: build_halves(*parts), ranks
        )

    def compile_steps(
        self, key: Any, optimizer: Optimizer, build: Callable[[], Halves], ranks: Communicator
    ) -> CompiledSteps:
        """Build and compile a training step and, if that is faster, many steps in one call.

        ``key`` identifies the step among those of this model with the same optimiser. ``build``
        builds it, see `anyback_nn.training.step.build_halves`; ``ranks`` take it together.
        """
        # The learning rate is an argument of the step. A custom optimiser may equal another one.
        custom = [] if is_own(optimizer) else [optimizer]
        key = (key, id(optimizer) if custom else replace(optimizer, learning_rate=1.0))
        # A custom part may do anything in each call, so it is not replayed. Nor is a step in mixed
        # precision, whose results are in new memory each time.
        parts = (*_flatten(self.network), self.loss, optimizer, *self.sample_metrics)
        replay = self.compute_dtype is None and all(map(is_own, parts))
        jit = partial(self.backend.jit, replay=replay)
        adds = ranks.size > 1 and self._check_divisible()

        def compile_step() -> Step:
            halves = build()
            return halves.divide(ranks.add, jit, adds) if ranks.size > 1 else jit(halves, (0, 1))

        key = (ranks, key) if ranks.size > 1 else key
        step = self._get_or_build(key, compile_step, replayed=replay, custom=custom)
        noise_on_device = self.network.is_noisy and self.backend.masks_on_device
        if ranks.size > 1 or noise_on_device or not (replay or self.backend.compiles):
            return CompiledSteps(step, None)

        def scan() -> Callable[..., Any] | None:
            return self.backend.scan(build_step_on_rows(build()), donate=(0, 1))

        return CompiledSteps(
            step, self._get_or_build(("scan", key), scan, replayed=True, custom=custom)
        )

    def _check_divisible(self) -> bool:
        """Return whether a layer mixes the samples of a batch, which ranks divide among them."""
        for layer in _flatten(self.network):
            has_state = type(layer).init_state not in (Layer.init_state, Network.init_state)
            if has_state and not layer.mixes_samples:
                raise ValueError(
                    f"distributed: {type(layer).__name__} has a state, so it may mix samples: "
                    "expected that it averages by batch_mean alone, and has mixes_samples = True"
                )
        return any(layer.mixes_samples for layer in _flatten(self.network))

    def get_compiled(
        self,
        key: Any,
        build: Callable[[], Callable[..., Any]],
    ) -> Callable[..., Any]:
        """Return one of the model's computations, built and compiled when it is first needed.

        Models of the same architecture share the functions that a library compiles, so that the
        folds of a cross-validation, say, do not compile the same steps again. A replayed step is
        not shared, because it works in the memory of this model's parameters. Nor is a computation
        with a custom layer or loss, which may equal another one that computes something else.

        Parameters
        ----------
        key : hashable
            Identifies the computation among those of this architecture.
        build : callable
            Builds the function to compile.
        """
        function: Callable[..., Any] = self._get_or_build(key, lambda: self.backend.jit(build()))
        return function

    def _get_or_build(
        self,
        key: Any,
        build: Callable[[], Any],
        *,
        replayed: bool = False,
        custom: Sequence[Any] = (),
    ) -> Any:
        """Return a compiled function from the store of this model, or of its architecture.

        If it is ``replayed``, a library without a compiler does so. The ``custom`` parts are those
        of the function that are not the model's.
        """
        compiles = self.backend.compiles
        key = (key, self.dtype, self.layout.packed)
        parts = (self.backend, self.network, self.loss, *self.sample_metrics)
        custom = [
            *custom_parts((*_flatten(self.network), self.loss, *self.sample_metrics)),
            *custom,
        ]
        if not custom and (compiles or not replayed):
            # A metric may have no hash.
            with contextlib.suppress(TypeError):
                self._store = store = _shared(*parts, self.n_in)
                if key not in store:
                    store[key] = build()
                return store[key]
        own, most = self._own_compiled, MOST_OWN
        if replayed and not compiles:
            own, most = self._replayed, MOST_REPLAYED
        key = (key, *map(id, parts))
        if key not in own:
            if len(own) >= most:
                del own[next(iter(own))]
            function = build()
            if custom and compiles and function is not None:
                function = Recompiled(function, build, custom)
            # The parts are kept, so that their ids stay theirs.
            own[key] = (function, (*parts, *custom))
        return own[key][0]

    def forget_compiled(self) -> None:
        """Drop the functions that were compiled for this model alone, and leave the shared ones."""
        self._store = None
        self._own_compiled: dict[Any, tuple[Any, Any]] = {}
        self._replayed: dict[Any, tuple[Any, Any]] = {}

    def drop_large_programs(self) -> None:
        """Free the memory of traced steps that is worth more than tracing them again."""
        for step, _ in self._replayed.values():
            parts = (step.derive, step.update) if isinstance(step, DividedStep) else (step,)
            for function in parts:
                if isinstance(function, Traced | TracedScan):
                    function.drop_large_programs()


def choose_compute_dtype(compute_dtype: str | None, dtype: str, backend: Backend) -> str | None:
    """Return the compute dtype, or None with a warning if a loaded model's backend has none."""
    try:
        return check_compute_dtype(compute_dtype, dtype, backend)
    except ValueError as error:
        warnings.warn(f"the model computes in {dtype} from now on, because: {error}", stacklevel=4)
        return None


def _flatten(network: Network) -> Iterable[Layer]:
    """Iterate over all layers, including those of blocks."""
    for layer in network.layers:
        yield layer
        if isinstance(layer, Network):
            yield from _flatten(layer)
