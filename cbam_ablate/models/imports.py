"""Builders are named in `config/facts.py`, which imports no torch, and are imported when they are used."""

from collections.abc import Callable
from importlib import import_module
from typing import Any


def load(builder: str) -> Callable[..., Any]:
    """The function that `module:function` names."""
    module, _, name = builder.partition(":")
    function: Callable[..., Any] = getattr(import_module(module), name)
    return function
