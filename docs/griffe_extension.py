"""How griffe, which reads the code for the site, is told what it does not know."""

from __future__ import annotations

import re
from typing import Any

import griffe

TYPED = {"parameters", "returns", "attributes"}


class AsWritten(griffe.Extension):
    """Types in docstrings stay prose, and dataclasses that inherit ``__init__`` inherit it."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Undo that ``array, shape (n_samples,)`` is read as an expression of Python."""
        if isinstance(obj, griffe.Class):
            _remove_generated_init(obj)
        if obj.docstring is None:
            return
        # Blocks of code are indented in Markdown, too, but are not announced by two colons.
        obj.docstring.value = re.sub(r"::(?=\n\n {4})", ":", obj.docstring.value)
        lines = [line.split(" : ")[-1].strip() for line in obj.docstring.lines]
        lines += [line.removesuffix(", optional") for line in lines]
        texts = {_letters(text): text for text in lines}
        parameters = getattr(obj, "parameters", ())
        for section in obj.docstring.parsed:
            for item in section.value if section.kind.value in TYPED else ():
                written = str(item.annotation)
                text = texts.get(_letters(written), written)
                if text != written:
                    item.annotation = text
                if section.kind.value == "parameters" and item.name in parameters:
                    # Of several parameters in one line, all have the default of the first.
                    item.value = parameters[item.name].default


def _remove_generated_init(cls: griffe.Class) -> None:
    """Remove the ``__init__`` that griffe gives to a ``dataclass(init=False)``."""
    method = cls.members.get("__init__")
    decorators = "".join(str(decorator.value) for decorator in cls.decorators)
    if method and not method.lineno and "init=False" in decorators:
        cls.del_member("__init__")


def _letters(text: str) -> str:
    """Return what is left of a type when it was written as Python."""
    return re.sub(r"\W", "", text)
