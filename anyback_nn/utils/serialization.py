"""Convert dataclasses to JSON and back.

A dataclass becomes ``{"kind": "Dense", "settings": {"n_out": 10, ...}}``. Reading looks the kind up
among those that the caller knows, checks every field against its annotation, and calls the class:
nothing in a file is ever imported or executed.

Files of format 1 hold some objects in a flatter form, which is read as well: ``{"kind": "scaling",
"scale": 255.0}``, and fields alone where the annotation names the class.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import lru_cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from anyback_nn.errors import AnybackError
from anyback_nn.utils.messages import quoted_list

__all__ = ["Serializer"]

SCALARS: dict[type, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "an integer"),
    float: ((int, float), "a finite number"),
    str: ((str,), "a string"),
    type(None): ((type(None),), "null"),
}
"""The types in JSON that fit a type of Python, and the words for them."""


@dataclass(frozen=True)
class Serializer:
    """Writes dataclasses of certain kinds to JSON, and reads them back.

    Parameters
    ----------
    find : callable
        ``find(kind)`` returns the dataclass of a kind, or None if there is none. If ``by_module``,
        ``find(kind, module)``, where the module is None if the data name none.
    error : type of AnybackError
        Raised for data that do not fit.
    roles : tuple of type
        The base classes that fields are checked for, such as ``Layer``. Annotations with other
        classes say nothing of what JSON holds.
    strict : bool
        Whether numbers must be of the annotated type, and finite. If False, as for settings that
        users compute, any number fits where one is expected, and None fits everywhere.
    by_module : bool
        Whether the modules of classes that are not this package's are written, and looked up.

    Examples
    --------
    >>> from anyback_nn.errors import DataError
    >>> @dataclass(frozen=True)
    ... class Scaling:
    ...     scale: float
    >>> serializer = Serializer({"Scaling": Scaling}.get, DataError)
    >>> serializer.to_json(Scaling(2.0))
    {'kind': 'Scaling', 'settings': {'scale': 2.0}}
    >>> serializer.from_json({"kind": "Scaling", "settings": {"scale": "2"}}, where="features")
    Traceback (most recent call last):
    ...
    anyback_nn.errors.DataError: features.scale is '2': expected a finite number
    """

    find: Callable[..., type | None]
    error: type[AnybackError]
    roles: tuple[type, ...] = ()
    strict: bool = True
    by_module: bool = False

    def to_json(self, value: Any) -> Any:
        """Return what JSON can hold of a dataclass, a number, a string, None or a tuple of them.

        Raises
        ------
        AnybackError
            The value is of another type, or of a class that would not be found when it is read.
        """
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, tuple | list):
            return [self.to_json(item) for item in value]
        kind, module = type(value).__name__, type(value).__module__
        known = self._look_up(kind, module)
        if known is not None and known is not type(value):
            raise self.error(f"cannot save {value!r}: another class is called {kind}; rename yours")
        if known is None or not is_dataclass(value):
            raise self.error(
                f"cannot save {value!r}: expected numbers, strings, or a layer, loss, optimizer, "
                "schedule or initializer that is a dataclass. Put @dataclass(frozen=True) on "
                f"{kind}"
            )
        names = [field.name for field in fields(value) if field.init]
        is_own = not self.by_module or module.startswith("anyback_nn.")
        return {
            "kind": kind,
            **({} if is_own else {"module": module}),
            "settings": {name: self.to_json(getattr(value, name)) for name in names},
        }

    def from_json(self, data: Any, expected: Any = Any, where: str = "") -> Any:
        """Return what `to_json` described.

        Parameters
        ----------
        data : None, bool, int, float, str, list or dict
            As ``json.loads`` returns it.
        expected : type
            The type that it must have, such as ``Layer`` or ``float | None``.
        where : str
            The path of the data in the file, for messages.

        Raises
        ------
        AnybackError
            A kind is unknown, or a field is missing, unknown or of another type.
        """
        is_union = get_origin(expected) in (Union, types.UnionType)
        options = get_args(expected) if is_union else (expected,)
        options = tuple(option if self._is_checked(option) else Any for option in options)
        if isinstance(data, Mapping):
            return self._object(data, options, where)
        if isinstance(data, list | tuple):
            return self._list(data, options, where)
        if data is None and not self.strict:
            return data
        for option in options:
            if option is Any or _is_scalar(data, option, strict=self.strict):
                return data
        raise self.error(f"{where or 'the data'} is {data!r}: expected {_describe(options)}")

    def _is_role(self, option: Any) -> bool:
        """Return whether this is the class of a dataclass that may be read."""
        return (
            isinstance(option, type)
            and get_origin(option) is None
            and (
                issubclass(option, self.roles)
                or self._look_up(option.__name__, option.__module__) is option
            )
        )

    def _look_up(self, kind: str, module: Any) -> type | None:
        return self.find(kind, module) if self.by_module else self.find(kind)

    def _is_checked(self, option: Any) -> bool:
        """Return whether an annotation says what JSON must hold."""
        is_tuple = get_origin(option) is tuple and bool(get_args(option))
        known = option in SCALARS or get_origin(option) is Literal
        return known or is_tuple or self._is_role(option)

    def _list(self, data: Any, options: tuple[Any, ...], where: str) -> tuple[Any, ...]:
        """Read a list."""
        tuples = [option for option in options if option is Any or get_origin(option) is tuple]
        option = tuples[0] if len(tuples) == 1 else Any
        if not tuples:
            raise self.error(f"{where or 'the data'} is a list: expected {_describe(options)}")
        items = (Any, ...) if option is Any else get_args(option)
        if items[-1:] == (...,):
            items = items[:1] * len(data)
        if len(items) != len(data):
            raise self.error(f"{where or 'the data'} has {len(data)} items: expected {len(items)}")
        return tuple(
            self.from_json(x, item, f"{where}[{i}]") for i, (x, item) in enumerate(zip(data, items))
        )

    def _object(self, data: Mapping[str, Any], options: tuple[Any, ...], where: str) -> Any:
        """Read a dataclass."""
        classes = tuple(option for option in options if self._is_role(option))
        if not classes and Any not in options:
            raise self.error(f"{where or 'the data'} is an object: expected {_describe(options)}")
        kind = data.get("kind")
        if kind is None and len(classes) == 1 and is_dataclass(classes[0]):
            cls, settings = classes[0], data  # format 1
        else:
            module = data.get("module")
            known = self._look_up(kind, module) if isinstance(kind, str) else None
            if known is None:
                defined = f" of the module {module!r}" if module else ""
                raise self.error(
                    f"{f'{where} is' if where else 'the file has an object'} of the kind {kind!r}"
                    f"{defined}, which is not defined. If it is a class of your own, define or "
                    "import it before loading; if not, was it written by another version?"
                )
            cls = known
            if classes and not issubclass(cls, classes):
                raise self.error(f"{where} is of the kind {kind!r}: expected {_describe(classes)}")
            settings = data.get("settings", {k: v for k, v in data.items() if k != "kind"})
        return self._build(cls, settings, where)

    def _build(self, cls: Any, settings: Any, where: str) -> Any:
        """Read the fields of a class and call it."""
        kind = cls.__name__
        known = {field.name: field for field in fields(cls) if field.init}
        required = {
            name
            for name, field in known.items()
            if field.default is MISSING and field.default_factory is MISSING
        }
        if not isinstance(settings, Mapping) or not required <= set(settings) <= set(known):
            actual = quoted_list(settings) if isinstance(settings, Mapping) else repr(settings)
            raise self.error(
                f"{where or kind} has the fields {actual or '(none)'}: expected "
                f"{quoted_list(known)}; was it written by another version?"
            )
        hints = _hints(cls)
        prefix = f"{where}." if where else ""
        values = {
            name: self.from_json(x, hints.get(name, Any), f"{prefix}{name}")
            for name, x in settings.items()
        }
        try:
            return getattr(cls, "_from_settings", cls)(**values)
        except self.error:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise self.error(f"the settings of {kind} do not fit: {error}") from error


@lru_cache
def _hints(cls: type) -> dict[str, Any]:
    """Return the types of the fields of a class; none if its annotations cannot be resolved."""
    try:
        return get_type_hints(cls)
    except Exception:  # a user's class may be annotated with anything
        return {}


def _is_scalar(data: Any, option: Any, *, strict: bool) -> bool:
    """Return whether a value that is no list and no object is of this type."""
    if get_origin(option) is Literal:
        return data in get_args(option)
    if option not in SCALARS:
        return False
    accepted, _ = SCALARS[option]
    if not strict and option in (bool, int, float):
        return isinstance(data, int | float)
    fits = isinstance(data, accepted) and isinstance(data, bool) == (option is bool)
    return fits and (option is not float or abs(data) <= sys.float_info.max)


def _describe(options: tuple[Any, ...]) -> str:
    """Return the words for some types."""
    words = []
    for option in options:
        if get_origin(option) is Literal:
            words.append(quoted_list(map(repr, get_args(option))))
        elif get_origin(option) is tuple:
            words.append("a list")
        else:
            name = getattr(option, "__name__", str(option))
            words.append(SCALARS[option][1] if option in SCALARS else name)
    return " or ".join(words)
