"""This is a project of its own: pytest collects its tests from its own root only."""

from pathlib import Path


def pytest_ignore_collect(config):
    return config.rootpath != Path(__file__).parent or None
