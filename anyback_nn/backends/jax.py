"""JAX: steps are compiled, and many of them run in one call."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import numpy as np

from anyback_nn.array_api import Array
from anyback_nn.backends.base import Backend
from anyback_nn.backends.libraries import BACKENDS
from anyback_nn.tree import ReadOnlyDict, tree_leaves, tree_map, tree_stack

__all__ = ["JaxBackend"]

# So that `Model.params` can be passed to functions of JAX.
jax.tree_util.register_pytree_node(
    ReadOnlyDict,
    lambda tree: (tuple(tree.values()), tuple(tree)),
    lambda names, branches: dict(zip(names, branches)),
)


class JaxBackend(Backend):
    """JAX; ``jax:1`` is its second device."""

    library = BACKENDS["jax"]
    namespace = "jax.numpy"
    # Slices of one vector as matrix operands leave XLA's fast path on the CPU.
    packed = False
    compiles = True
    steps_per_call = 512

    @property
    def device(self) -> Any:
        self.use()
        return jax.devices()[int(self.device_name or 0)]

    @property
    def has_device_memory(self) -> bool:
        return bool(self.device.platform != "cpu")

    def devices(self) -> list[str]:
        self.use()
        return [f"jax:{index}" for index in range(len(jax.devices()))]

    def check_process(self) -> None:
        if self.was_forked:
            raise self.explain_fork()

    def _from_numpy(self, x: Any) -> Array:
        # `jax.device_put` may keep memory that the caller writes to afterwards; `jax.numpy.asarray`
        # does not, but takes several times as long.
        return jax.device_put(np.array(x), self.device)

    def synchronize(self, *arrays: Array) -> None:
        jax.block_until_ready(arrays)

    def is_out_of_memory(self, error: BaseException) -> bool:
        if super().is_out_of_memory(error):
            return True
        # While other work is dispatched, the error has another status and the same words.
        messages = ("RESOURCE_EXHAUSTED", "Out of memory")
        from_jax = isinstance(error, jax.errors.JaxRuntimeError)
        return from_jax and any(part in str(error) for part in messages)

    def free_memory(self) -> int | None:
        if self.device.platform == "cpu":
            return super().free_memory()
        stats = self.device.memory_stats() or {}
        if not stats.keys() >= {"bytes_limit", "bytes_in_use"}:
            return None
        return int(stats["bytes_limit"]) - int(stats["bytes_in_use"])

    def jit(
        self, function: Callable[..., Any], donate: tuple[int, ...] = (), *, replay: bool = False
    ) -> Callable[..., Any]:
        # JAX keeps what it has compiled as long as the function lives, which a module may hold.
        compiled: Callable[..., Any] = jax.jit(partial(function), donate_argnums=donate)
        return compiled

    def clear_caches(self) -> None:
        jax.clear_caches()

    def scan(
        self, step: Callable[..., Any], donate: tuple[int, ...] = ()
    ) -> Callable[..., Any] | None:
        def run(carried: Any, fixed: Any, xs: Any) -> Any:
            def body(carried: Any, x: Any) -> Any:
                *carried, result = step(*carried, *fixed, *x)
                return tuple(carried), result

            return jax.lax.scan(body, carried, xs)

        compiled = self.jit(run, donate=(0,))

        def steps(carried: Any, fixed: Any, xs: Any) -> Any:
            # Stacked numbers are lists; they get the dtype of the arrays that they change.
            dtype = next((x.dtype for x in tree_leaves(carried)), None)
            on_host = tree_map(
                lambda x: np.asarray(x, dtype) if isinstance(x, list) else x,
                tree_stack(list(xs)),
            )
            # They are moved to the device of the other arguments.
            return compiled(carried, fixed, on_host)

        return steps

    @contextlib.contextmanager
    def scope(self, dtype: str) -> Iterator[None]:
        self.use()
        with contextlib.ExitStack() as settings:
            # A user may have forbidden what the standard allows.
            if jax.config.jax_numpy_rank_promotion != "allow":
                settings.enter_context(jax.numpy_rank_promotion("allow"))
            if jax.config.jax_numpy_dtype_promotion != "standard":
                settings.enter_context(jax.numpy_dtype_promotion("standard"))
            if dtype == "float64":
                settings.enter_context(jax.enable_x64(True))
            if self.tf32:
                settings.enter_context(jax.default_matmul_precision("tensorfloat32"))
            elif jax.config.jax_default_matmul_precision is None:
                # JAX's own default is TF32 on GPUs and bfloat16 on TPUs.
                settings.enter_context(jax.default_matmul_precision("float32"))
            yield
