"""The JSON that is printed and written."""

import math

from anyback_nn.cli.report import to_json


def test_json_has_no_nan():
    value = {"a": math.nan, "b": {"c": -math.inf}, "d": 1.5, "e": None, "f": "größe"}
    assert to_json(value) == (
        '{"a": null, "b": {"c": null}, "d": 1.5, "e": null, "f": "gr\\u00f6\\u00dfe"}'
    )
