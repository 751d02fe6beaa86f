"""Dataclasses as the schema of configuration files: a key that no dataclass has is an error."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf


def store(name: str, schema: type[Any], group: str | None = None) -> None:
    """Register a dataclass as the schema that a configuration file builds on; unknown keys then fail."""
    node = OmegaConf.structured(schema)
    _thaw(node)
    ConfigStore.instance().store(name=name, node=node, group=group)


def reject_added_keys(node: Any, path: str = "") -> None:
    """Hydra lets ``+key=value`` add what no dataclass asks for; it would be ignored in silence."""
    if not isinstance(node, DictConfig) or node._is_none():
        return
    schema = OmegaConf.get_type(node)
    allowed = {field.name for field in fields(schema)} if is_dataclass(schema) else set(node)
    for key in map(str, node):
        if key not in allowed:
            raise ValueError(f"unknown key {path}{key}; allowed: {', '.join(sorted(allowed))}")
        reject_added_keys(node._get_node(key), f"{path}{key}.")


def _thaw(node: Any) -> None:
    """Frozen dataclasses become read-only nodes, which Hydra could not override."""
    if not OmegaConf.is_config(node):
        return
    OmegaConf.set_readonly(node, None)
    if isinstance(node, DictConfig) and not node._is_none() and not node._is_missing():
        if not is_dataclass(OmegaConf.get_type(node)):
            OmegaConf.set_struct(node, False)  # dict[str, ...] takes any key
        for key in node:
            _thaw(node._get_node(key))
