"""The table of array libraries: what is known of each without importing it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BACKENDS", "TASKS", "TRAINING", "Library"]

TASKS = {
    "predictions": "predictions",
    "gradients": "gradients of all samples (L-BFGS)",
    "steps": "steps of training",
}
"""The tasks of a library, with their words in messages."""


@dataclass(frozen=True)
class Library:
    """An array library that can compute.

    Attributes
    ----------
    name : str
        The name in a spec.
    module : str
        The module that is there if the library is installed.
    backend : str
        The module and the class, below `anyback_nn.backends`, of its `Backend`.
    requirement : str
        What pip installs to have it.
    hardware, purpose : str
        Where it computes and its purpose, for the table in the README.
    half_dtypes : tuple of str
        The dtypes of 16 bits, of which the standard has none, that it computes in.
    has_tf32 : bool
        Whether it has a setting for TF32.
    computes : tuple of str
        The keys of `TASKS` that it computes.
    """

    name: str
    module: str
    backend: str
    requirement: str
    hardware: str
    purpose: str
    half_dtypes: tuple[str, ...] = ()
    has_tf32: bool = False
    computes: tuple[str, ...] = tuple(TASKS)


BACKENDS: dict[str, Library] = {
    library.name: library
    for library in (
        Library(
            name="numpy",
            module="numpy",
            backend="numpy.NumpyBackend",
            requirement="numpy",
            hardware="CPU",
            purpose="the default: nothing else to install",
            # BLAS knows no float16: NumPy multiplies such matrices in a loop of its own, slowly.
            half_dtypes=("float16",),
        ),
        Library(
            name="cupy",
            module="cupy",
            backend="cupy.CupyBackend",
            requirement="anyback-nn[cuda13]",
            hardware="NVIDIA GPU",
            purpose="training on the GPU",
            # Its bfloat16, new in version 14, is not in its namespace, and experimental.
            half_dtypes=("float16",),
            has_tf32=True,
        ),
        Library(
            name="torch",
            module="torch",
            backend="torch.TorchBackend",
            requirement="anyback-nn[torch]",
            hardware="CPU; NVIDIA, AMD or Apple GPU",
            purpose="arrays that are already PyTorch's",
            half_dtypes=("float16", "bfloat16"),
            has_tf32=True,
        ),
        Library(
            name="jax",
            module="jax",
            backend="jax.JaxBackend",
            requirement="anyback-nn[jax]",
            hardware="CPU; GPU or TPU with their JAX plugins",
            purpose="compiled steps",
            half_dtypes=("float16", "bfloat16"),
            has_tf32=True,
        ),
        Library(
            name="dpnp",
            module="dpnp",
            backend="dpnp.DpnpBackend",
            requirement="anyback-nn[dpnp]",
            hardware="CPU; Intel GPU (SYCL devices)",
            purpose="arrays that are already dpnp's (tried on a CPU alone, and slow there)",
        ),
        Library(
            name="dask",
            module="dask",
            backend="dask.DaskBackend",
            requirement="anyback-nn[dask]",
            hardware="CPU",
            purpose="data larger than memory: prediction, scores and L-BFGS, no steps of training",
            computes=("predictions", "gradients"),
        ),
        Library(
            name="array-api-strict",
            module="array_api_strict",
            backend="strict.StrictBackend",
            requirement="array-api-strict",
            hardware="CPU",
            purpose="testing that code keeps to the standard (slow)",
        ),
        Library(
            name="ndonnx",
            module="ndonnx",
            backend="ndonnx.NdonnxBackend",
            requirement="anyback-nn[onnx]",
            hardware="CPU",
            purpose="predictions by onnxruntime, and export to ONNX",
            computes=("predictions",),
        ),
    )
}
"""Every supported library by its name, in the order of the table in the README."""

TRAINING: tuple[str, ...] = tuple(
    name for name, library in BACKENDS.items() if "steps" in library.computes
)
"""The names of those that take steps of training."""
