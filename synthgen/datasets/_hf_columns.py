"""What the columns of a Hugging Face dataset mean: the image, its mask, its class, its objects, and plain values.

The `datasets` library writes its features as JSON into the schema of a parquet file; where there are none (or older
ones), the Arrow types tell: an image is a struct of `bytes` and `path`. Objects are a struct of lists or a list of
structs with `bbox` and `category`, as the guides of the hub lay them out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from synthgen.types import ConfigError

IMAGE_NAMES = ("image", "img", "pixel_values", "picture", "jpg", "png")
MASK_NAMES = ("mask", "annotation", "segmentation", "segmentation_mask", "label", "labels", "semantic_map")
CATEGORY_NAMES = ("category", "category_id", "categories", "label", "labels", "class")
CROWD, RLE = "iscrowd", "segmentation"
OBJECT_KEYS = frozenset({"bbox", "area", CROWD, RLE, *CATEGORY_NAMES})
_METADATA = b"huggingface"


@dataclass(frozen=True)
class Columns:
    """Column names by what they hold; `class_names` and `object_names` are the names behind their numbers."""

    image: str
    mask: str | None
    image_class: str | None
    objects: str | None
    category: str | None
    plain: tuple[str, ...]
    left_out: tuple[str, ...]
    class_names: tuple[str, ...]
    object_names: tuple[str, ...]


def read_columns(schema: pa.Schema, origin: str, image: str | None = None) -> Columns:
    """The meaning of a schema; `image` names the image column where there are several.

    Raises:
        ConfigError: no image column.
    """
    features = _features(schema)
    images = [field.name for field in schema if _is_image(field, features.get(field.name))]
    chosen = image or next((name for name in IMAGE_NAMES if name in images), images[0] if images else None)
    if chosen is None or chosen not in images:
        raise ConfigError(f"{origin}: no image column {image or ''}; the columns are {', '.join(schema.names)}")
    mask = next((name for name in MASK_NAMES if name in images and name != chosen), None)
    classes = {name: names for name in schema.names if (names := _label_names(features.get(name))) is not None}
    image_class = "label" if "label" in classes else next(iter(classes), None)
    objects = next((field.name for field in schema if "bbox" in _inner(field.type)), None)
    inner = _inner(schema.field(objects).type) if objects else ()
    category = next((name for name in CATEGORY_NAMES if name in inner), None)
    names = _label_names(_inner_feature(features.get(objects or ""), category)) if category else None
    roles = {chosen, mask, image_class, objects}
    rest = [field for field in schema if field.name not in roles]
    plain = tuple(field.name for field in rest if _is_plain(field.type) and not field.name.endswith("file_name"))
    return Columns(
        chosen,
        mask,
        image_class,
        objects,
        category,
        plain,
        tuple(field.name for field in rest if field.name not in plain),
        classes.get(image_class or "", ()),
        names or (),
    )


def object_rows(value: Any) -> list[dict[str, Any]]:
    """The objects of one row, one mapping each, from either layout."""
    if isinstance(value, Mapping):
        lists = {key: found for key, found in value.items() if isinstance(found, list)}
        count = len(lists.get("bbox", ()))
        return [{key: found[place] for key, found in lists.items() if len(found) == count} for place in range(count)]
    return [dict(one) for one in value or () if isinstance(one, Mapping)]


def with_features(schema: pa.Schema, features: Mapping[str, Any]) -> pa.Schema:
    """The schema with features as the `datasets` library stores them."""
    return schema.with_metadata({_METADATA: json.dumps({"info": {"features": features}}).encode()})


def released_schema(schema: pa.Schema, columns: Columns, without: frozenset[str]) -> pa.Schema:
    """The schema without some columns and without what is no known label, its features too."""
    names = [name for name in schema.names if name not in without and name not in columns.left_out]
    fields = [schema.field(name) for name in names]
    fields = [f.with_type(_cut_type(f.type)) if f.name == columns.objects else f for f in fields]
    told = _features(schema)
    features = {name: told[name] for name in names if name in told}
    if columns.objects in features:
        features[columns.objects] = _cut_feature(features[columns.objects])
    return with_features(pa.schema(fields), features) if features else pa.schema(fields)


def _cut_type(shape: pa.DataType) -> pa.DataType:
    """The type of objects with the fields of `OBJECT_KEYS` alone."""
    if _is_list(shape):
        return pa.list_(_cut_type(shape.value_type))
    return pa.struct([child for child in shape if child.name in OBJECT_KEYS])


def _cut_feature(feature: Any) -> Any:
    if isinstance(feature, list):
        return [_cut_feature(one) for one in feature]
    if not isinstance(feature, dict):
        return feature
    if "_type" in feature:
        return {**feature, "feature": _cut_feature(feature.get("feature"))}
    return {name: value for name, value in feature.items() if name in OBJECT_KEYS}


def _features(schema: pa.Schema) -> dict[str, Any]:
    try:
        found = json.loads((schema.metadata or {}).get(_METADATA, b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_image(field: pa.Field, feature: Any) -> bool:
    shape = field.type
    told = isinstance(feature, dict) and feature.get("_type") == "Image"
    struct = pa.types.is_struct(shape) and {child.name for child in shape} == {"bytes", "path"}
    return struct and (told or not isinstance(feature, dict))


def _label_names(feature: Any) -> tuple[str, ...] | None:
    """The names of a ClassLabel, or None where the feature is none."""
    if not isinstance(feature, dict) or feature.get("_type") != "ClassLabel":
        return None
    names = feature.get("names")
    return tuple(str(name) for name in names) if isinstance(names, list) else None


def _inner(shape: pa.DataType) -> tuple[str, ...]:
    """The fields of a struct, or of a list of structs."""
    if _is_list(shape):
        shape = shape.value_type
    return tuple(child.name for child in shape) if pa.types.is_struct(shape) else ()


def _is_list(shape: pa.DataType) -> bool:
    return bool(pa.types.is_list(shape) or pa.types.is_large_list(shape) or pa.types.is_fixed_size_list(shape))


def _inner_feature(feature: Any, name: str) -> Any:
    """The feature of one field of the objects, below whatever lists: the library has changed its notation."""
    for _ in range(4):
        if isinstance(feature, list) and len(feature) == 1:
            feature = feature[0]
        elif isinstance(feature, dict) and feature.get("_type") in ("Sequence", "List", "LargeList"):
            feature = feature.get("feature")
        elif isinstance(feature, dict) and "_type" not in feature and name in feature:
            feature = feature[name]
        else:
            return feature
    return feature


def _is_plain(shape: pa.DataType) -> bool:
    tests = (
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_boolean,
        pa.types.is_string,
        pa.types.is_large_string,
    )
    return any(test(shape) for test in tests)
