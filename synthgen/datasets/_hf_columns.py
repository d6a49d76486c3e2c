"""What the columns of a Hugging Face dataset mean: the image, its mask, its class, its objects, and plain values.

The `datasets` library writes its features as JSON into the schema of a parquet file; where there are none (or older
ones), the Arrow types tell: an image is a struct of `bytes` and `path`. Objects are a struct of lists or a list of
structs with `bbox` and `category`, as the guides of the hub lay them out. Bytes and pixels in whatever column but the
image and its mask may be pictures of the source and are never released.
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
_METADATA = b"huggingface"


@dataclass(frozen=True)
class Columns:
    """Column names by what they hold; `class_names` and `object_names` are the names behind their numbers.

    `fields` are those of the objects that are read. Of the other columns and of `unread` fields (as `objects.<field>`),
    `opaque` are those that may hold a picture.
    """

    image: str
    mask: str | None
    image_class: str | None
    objects: str | None
    category: str | None
    fields: frozenset[str]
    plain: tuple[str, ...]
    left_out: tuple[str, ...]
    unread: tuple[str, ...]
    opaque: frozenset[str]
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
    inner = _inner(schema.field(objects).type) if objects else {}
    category = next((name for name in CATEGORY_NAMES if name in inner), None)
    names = _label_names(_inner_feature(features.get(objects or ""), category)) if category else None
    roles = {chosen, mask, image_class, objects}
    rest = [field for field in schema if field.name not in roles]
    plain = tuple(field.name for field in rest if _is_plain(field.type) and not field.name.endswith("file_name"))
    left_out = tuple(field.name for field in rest if field.name not in plain)
    fields = frozenset(name for name, kind in inner.items() if _is_label(name, kind, category))
    unread = {f"{objects}.{name}": kind for name, kind in inner.items() if name not in fields}
    opaque = {name for name in left_out if _is_opaque(schema.field(name).type, features.get(name))}
    opaque |= {name for name, kind in unread.items() if _is_opaque(kind)}
    return Columns(
        chosen,
        mask,
        image_class,
        objects,
        category,
        fields,
        plain,
        left_out,
        tuple(unread),
        frozenset(opaque),
        classes.get(image_class or "", ()),
        names or (),
    )


def with_features(schema: pa.Schema, features: Mapping[str, Any]) -> pa.Schema:
    """The schema with features as the `datasets` library stores them."""
    return schema.with_metadata({_METADATA: json.dumps({"info": {"features": features}}).encode()})


def released_schema(schema: pa.Schema, columns: Columns, without: frozenset[str], keep: bool) -> pa.Schema:
    """The schema without some columns and without what may not leave under such names, its features too."""
    behind = columns.opaque if keep else columns.opaque.union(columns.left_out, columns.unread)
    if keep and not behind and not without:
        return schema
    names = [name for name in schema.names if name not in without and name not in behind]
    inner = _inner(schema.field(columns.objects).type) if columns.objects else {}
    kept = frozenset(name for name in inner if f"{columns.objects}.{name}" not in behind)
    fields = [schema.field(name) for name in names]
    fields = [f.with_type(_cut_type(f.type, kept)) if f.name == columns.objects else f for f in fields]
    told = _features(schema)
    features = {name: told[name] for name in names if name in told}
    if columns.objects in features:
        features[columns.objects] = _cut_feature(features[columns.objects], kept)
    return with_features(pa.schema(fields), features) if features else pa.schema(fields)


def _cut_type(shape: pa.DataType, kept: frozenset[str]) -> pa.DataType:
    """The type of objects with some fields alone."""
    if _is_list(shape):
        return pa.list_(_cut_type(shape.value_type, kept))
    return pa.struct([child for child in shape if child.name in kept])


def _cut_feature(feature: Any, kept: frozenset[str]) -> Any:
    if isinstance(feature, list):
        return [_cut_feature(one, kept) for one in feature]
    if not isinstance(feature, dict):
        return feature
    if "_type" in feature:
        return {**feature, "feature": _cut_feature(feature.get("feature"), kept)}
    return {name: value for name, value in feature.items() if name in kept}


def _is_label(name: str, kind: pa.DataType, category: str | None) -> bool:
    """Whether a field of objects holds, by its name and the type of one object's value, a label that is read."""
    if pa.types.is_null(kind) or name == "bbox":
        return name in {"bbox", "area", CROWD, RLE, category}
    if name == RLE:
        struct = pa.types.is_struct(kind) and {child.name for child in kind} == {"size", "counts"}
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        return text or (struct and not _is_opaque(kind)) or (_is_list(kind) and _is_number(_innermost(kind)))
    if name == category:
        return _is_plain(kind) and not pa.types.is_floating(kind)
    return name in {"area", CROWD} and (_is_number(kind) or bool(pa.types.is_boolean(kind)))


def _is_opaque(kind: pa.DataType, feature: Any = None) -> bool:
    """Whether values may be a picture: they have bytes, or are arrays of 8-bit numbers or of a fixed shape."""
    if isinstance(feature, dict) and str(feature.get("_type")).startswith("Array"):
        return True
    if _is_list(kind):
        pixels = pa.types.is_int8(_innermost(kind)) or pa.types.is_uint8(_innermost(kind))
        return bool(pixels) or _is_opaque(kind.value_type)
    if pa.types.is_struct(kind):
        return any(_is_opaque(child.type) for child in kind)
    if isinstance(kind, pa.BaseExtensionType):
        return True
    if pa.types.is_map(kind):
        return _is_opaque(kind.key_type) or _is_opaque(kind.item_type)
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary, pa.types.is_binary_view)
    return any(test(kind) for test in tests)


def _innermost(kind: pa.DataType) -> pa.DataType:
    while _is_list(kind):
        kind = kind.value_type
    return kind


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind))


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


def _inner(shape: pa.DataType) -> dict[str, pa.DataType]:
    """The fields of a struct of lists, or of a list of structs, with the types of one value."""
    if _is_list(shape):
        shape = shape.value_type
        return {child.name: child.type for child in shape} if pa.types.is_struct(shape) else {}
    if not pa.types.is_struct(shape):
        return {}
    return {child.name: child.type.value_type if _is_list(child.type) else child.type for child in shape}


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
