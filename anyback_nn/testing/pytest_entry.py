"""Add the setting that enables the plugin: pytest loads this module in every project.

``anyback_nn = true`` among pytest's settings loads `anyback_nn.testing.plugin`, which has options
and fixtures with names that other projects use too. Without it nothing is added to pytest.
"""

from __future__ import annotations

import pytest

PLUGIN = "anyback_nn.testing.plugin"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting."""
    parser.addini("anyback_nn", "load anyback_nn's fixtures and options", type="bool")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Load the plugin, if it is enabled, before the options are read."""
    if early_config.getini("anyback_nn"):
        early_config.pluginmanager.import_plugin(PLUGIN)
