"""Components: frozen, validated specs; the folder is the registry.

`kind: canny` in a config is the one `Component` subclass that `extractors/canny.py` defines. Nothing is registered and
nothing is imported that a run does not name. A spec holds no weights: its `load(device)` returns the runnable.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, SerializeAsAny

from synthgen.types import ConfigError

ComponentT = TypeVar("ComponentT", bound="Component")


class Component(BaseModel):
    """Base of every spec: frozen, hashable by its JSON, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


def kinds(family: str) -> list[str]:
    """The kinds a family offers: the names of its files, sorted."""
    package = importlib.import_module(f"synthgen.{family}")
    names = (module.name for module in pkgutil.iter_modules(package.__path__))
    return sorted(name for name in names if name != "base" and not name.startswith("_"))


def component_class(family: str, kind: str) -> type[Component]:
    """The spec class behind `kind` in `family` (`extractors`, `generators`, …).

    Raises:
        ConfigError: there is no such kind; the message lists those there are.
    """
    if kind not in kinds(family):
        raise ConfigError(f"no kind {kind!r} in {family}; there are: {', '.join(kinds(family))}")
    module = importlib.import_module(f"synthgen.{family}.{kind}")
    own = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Component) and value.__module__ == module.__name__
    ]
    specs = [value for value in own if "kind" in value.model_fields or "format" in value.model_fields]
    if len(specs) != 1:
        raise ConfigError(f"synthgen/{family}/{kind}.py must define exactly one component, it defines {len(specs)}")
    return specs[0]


def parse_component(family: str, value: Any, tag: str = "kind") -> Any:
    """Turn a mapping (or the bare kind as a string) into its spec; leave a spec as it is.

    Raises:
        ValueError: the mapping has no tag or an unknown one (pydantic reports it under the key of the field).
    """
    if isinstance(value, Component):
        return value
    if isinstance(value, str):
        value = {tag: value}
    if not isinstance(value, dict) or not isinstance(value.get(tag), str):
        raise ValueError(f"expected a mapping with {tag!r}, one of: {', '.join(kinds(family))}")
    try:
        spec = component_class(family, value[tag])
    except ConfigError as error:
        raise ValueError(str(error)) from error
    return spec.model_validate(value)


def components(family: str, base: type, tag: str = "kind") -> Any:
    """The annotation of a field that holds any component of `family` and is written out with all its keys."""

    def parse(value: Any) -> Any:
        return parse_component(family, value, tag)

    return Annotated[SerializeAsAny[base], BeforeValidator(parse)]  # type: ignore[valid-type,misc]
