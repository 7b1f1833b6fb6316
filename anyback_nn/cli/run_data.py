"""The data of a run, found again and divided as in training."""

from __future__ import annotations

import os
from pathlib import Path

from anyback_nn.cli import run_folder
from anyback_nn.cli.run_folder import TrainingData, compute_fingerprints
from anyback_nn.datasets import BUILT_IN, Dataset, Encoding, load
from anyback_nn.errors import AnybackError

__all__ = ["divide_again", "load_again"]


def load_again(run: Path, encoding: Encoding, data: str | None = None) -> tuple[str, Dataset]:
    """Load the data that a run was trained with, divided as in training.

    Parameters
    ----------
    run : Path
        The folder of a run, or its model file.
    encoding : Encoding
        That of the model.
    data : str, optional
        Where the data are now. Default: where they were, as the run's settings say; a relative path
        is relative to the working folder, as it was in training.

    Returns
    -------
    data : str
        Where they are.
    dataset : Dataset

    Raises
    ------
    AnybackError
        The run does not say which data it had, they are gone, or they have other contents now.
    """
    if data is not None and data not in BUILT_IN and not os.path.exists(data):
        raise AnybackError(f"{data}: no such file or folder: expected the data of {run}")
    training = TrainingData.read(run)
    settings = (run if run.is_dir() else run.parent) / run_folder.SETTINGS
    if training is None and settings.exists():
        raise AnybackError(
            f"{settings} is not as train wrote it: it does not say which data {run} was trained "
            "with"
        )
    if training is None:
        raise AnybackError(
            f"{run} does not say which data it was trained with: expected a folder that anyback-nn "
            f"train wrote, or a model file next to the {run_folder.SETTINGS} of its run"
        )
    asked = run_folder.read_settings(run).get("asked")
    data = data or (asked.get("data") if isinstance(asked, dict) else None)
    if not isinstance(data, str) or (data not in BUILT_IN and not os.path.exists(data)):
        raise AnybackError(
            f"the data of {run} are no longer at {data}: call it in the folder in which train was "
            "called, or say where they are"
        )
    fingerprints = compute_fingerprints(data)
    if fingerprints and training.fingerprint not in (*fingerprints, None):
        raise AnybackError(
            f"{data} has other contents than when {run} was trained: expected the same data"
        )
    return data, divide_again(run, data, encoding, training)


def divide_again(
    run: Path, data: str, encoding: Encoding, training: TrainingData, advice: str = ""
) -> Dataset:
    """Read the data of training again and divide them as then; ``advice`` ends each error.

    Raises
    ------
    AnybackError
        The settings or the data are not those of training.
    """
    try:
        # What the file says of memory does not count.
        dataset = load(data, **{**training.options, "memory_limit": None})
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        if isinstance(error, AnybackError):
            raise
        raise AnybackError(
            f"the {run_folder.SETTINGS} of {run} is not as train wrote it ({error}){advice}"
        ) from error
    if dataset.encoding != encoding:
        raise AnybackError(
            f"{data} is not divided as when {run} was trained: was that another version?{advice}"
        )
    return dataset
