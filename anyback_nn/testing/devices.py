"""Combine backends with the devices that are chosen by ``--device``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from anyback_nn.backends import Backend
from anyback_nn.errors import BackendUnavailableError
from anyback_nn.testing.variants import select

__all__ = ["combine"]


def combine(
    backends: Iterable[Backend], devices: Sequence[str]
) -> tuple[list[Backend], dict[str, str]]:
    """Put each backend on each of these devices that it has; without any, leave it as it is.

    Parameters
    ----------
    backends : iterable of Backend
        One whose spec has a device, or is a variant's, stays as it is.
    devices : sequence of str
        The names of devices, as in specs. What the default device is called is a name of it, too.

    Returns
    -------
    backends : list of Backend
        Each of them once.
    missing : dict of str to str
        The specs of the combinations that do not exist, with the reason.

    Raises
    ------
    ValueError
        None of the backends has a device of this name.

    Examples
    --------
    >>> from anyback_nn.backends import select
    >>> backends = [select("numpy"), select("array-api-strict")]
    >>> chosen, missing = combine(backends, ["cpu", "CPU_DEVICE", "device1"])
    >>> [backend.spec for backend in chosen]
    ['numpy', 'array-api-strict:CPU_DEVICE', 'array-api-strict:device1']
    >>> list(missing)
    ['numpy:CPU_DEVICE', 'numpy:device1', 'array-api-strict:cpu']
    """
    if not all(devices):
        raise ValueError("--device: expected NAME, got ''")
    combined: list[Backend] = []
    missing: dict[str, str] = {}
    unused = dict.fromkeys(devices)
    for backend in backends:
        if backend.spec != backend.name or not devices:
            combined.append(backend)
            continue
        for device in devices:
            spec = f"{backend.name}:{device}"
            try:
                combined.append(select(spec))
            except BackendUnavailableError as error:
                if device != backend.device_label:
                    missing[spec] = str(error)
                    continue
                combined.append(backend)
            unused.pop(device, None)
    for device in unused:
        reasons = [reason for spec, reason in missing.items() if spec.endswith(f":{device}")]
        raise ValueError(
            f"no chosen backend has a device {device!r}: "
            + ("; ".join(reasons) or "name a backend without its device, as in --backend torch")
        )
    return list({backend.spec: backend for backend in combined}.values()), missing
