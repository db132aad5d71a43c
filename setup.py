"""Entry point for tools that ask for it; the metadata stands in pyproject.toml."""

from setuptools import setup

setup()
