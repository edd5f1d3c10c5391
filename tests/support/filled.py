"""Values of any of our records with one text in every place that takes a text: for what must be shown inert."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import inspect

T = TypeVar("T", bound=msgspec.Struct)

DEEPEST = 6


def fill(type_: type[T], text: str) -> T:
    """An instance of `type_` that holds `text` wherever its types allow, and one element in every list."""
    return msgspec.convert(_value(inspect.type_info(type_), text, DEEPEST), type_)


def _value(type_: inspect.Type, text: str, depth: int) -> Any:
    match type_:
        case inspect.Metadata(type=inner):
            return _value(inner, text, depth)
        case inspect.StrType(max_length=longest):
            return text[:longest]
        case inspect.IntType(ge=least, le=most) | inspect.FloatType(ge=least, le=most):
            return min(1 if least is None else max(1, least), 1 if most is None else most)
        case inspect.BoolType():
            return True
        case inspect.LiteralType(values=values):
            return values[0]
        case inspect.NoneType():
            return None
        case inspect.DictType(key_type=key, value_type=value):
            return {_value(key, text, depth): _value(value, text, depth - 1)} if depth else {}
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            return [_value(item, text, depth - 1)] if depth else []
        case inspect.TupleType(item_types=items):
            return [_value(item, text, depth - 1) for item in items]
        case inspect.UnionType(types=types):
            texts = [one for one in types if isinstance(one, inspect.StrType)]
            others = [one for one in types if not isinstance(one, inspect.NoneType)]
            return _value((texts or others)[0], text, depth) if depth else None
        case inspect.StructType(fields=fields, array_like=is_array):
            filled = {field.encode_name: _value(field.type, text, depth - 1) for field in fields}
            return list(filled.values()) if is_array else filled
    raise AssertionError(f"no value of {type_}")
