"""YAML that people wrote: safe, bounded, and no key twice. Everything wrong with it is a ValueError that says so."""

from __future__ import annotations

from typing import Any

import yaml

MAX_BYTES = 4_000_000
MAX_NODES = 200_000
"""Values, every alias counted as often as it is written out: an alias of aliases grows without end."""
MAX_DEPTH = 50

# what PyYAML's own constructors raise beside YAMLError, for texts such as `!!bool x` or `2020-99-99`
_FAULTS = (ValueError, KeyError, AttributeError, TypeError, OverflowError)


def parse_yaml(text: str) -> Any:
    """The value of one YAML document.

    Raises ValueError: no YAML, a key that stands twice or is a list, or larger or deeper than the bounds above.
    """
    if len(text) > MAX_BYTES:
        raise ValueError(f"it has {len(text)} characters, more than {MAX_BYTES}")
    try:
        loader = _Strict(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check_size(node)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except RecursionError:
        raise ValueError(f"lists and mappings lie deeper than {MAX_DEPTH} within one another") from None
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None
    except _FAULTS as error:
        raise ValueError(f"a value is not what its form says, {type(error).__name__}: {error}") from None


def _check_size(root: yaml.Node) -> None:
    sizes: dict[int, int] = {}
    open_: set[int] = set()

    def size(node: yaml.Node, depth: int) -> int:
        if id(node) in open_:
            raise yaml.MarkedYAMLError(problem="a value holds itself", problem_mark=node.start_mark)
        if depth >= MAX_DEPTH and not isinstance(node, yaml.ScalarNode):
            what = f"lists and mappings lie deeper than {MAX_DEPTH} within one another"
            raise yaml.MarkedYAMLError(problem=what, problem_mark=node.start_mark)
        if id(node) in sizes:
            return sizes[id(node)]
        open_.add(id(node))
        children = [] if isinstance(node, yaml.ScalarNode) else list(node.value)
        if isinstance(node, yaml.MappingNode):
            children = [child for pair in children for child in pair]
        sizes[id(node)] = total = 1 + sum(size(child, depth + 1) for child in children)
        open_.discard(id(node))
        if total > MAX_NODES:
            what = f"its aliases written out are more than {MAX_NODES} values"
            raise yaml.MarkedYAMLError(problem=what, problem_mark=node.start_mark)
        return total

    size(root, 0)


class _Strict(yaml.SafeLoader):
    """Safe YAML in which a key is a scalar and stands once: plain YAML keeps the last one in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key is a list or mapping", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key.value}' stands twice", key.start_mark)
            seen.add(key.value)
        return dict(super().construct_mapping(node, deep))
