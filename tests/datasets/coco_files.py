"""COCO files to read and to spoil: the objects of one image, and the JSON around them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from tests.datasets.conftest import SIZE, picture, save

W, H = SIZE
POLYGON = [[2, 2, 10, 2, 10, 9.5, 2, 9]]
BLOB = np.zeros((H, W), bool)
BLOB[3:8, 12:20] = BLOB[8:14, 14:16] = True


def compressed(mask: Any) -> dict[str, Any]:
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


def uncompressed(mask: Any) -> dict[str, Any]:
    flat = np.concatenate([[False], mask.ravel(order="F")])
    edges = np.flatnonzero(np.diff(flat.astype(int))) if flat.any() else np.array([], int)
    counts = np.diff(np.concatenate([[0], edges, [mask.size]])).tolist()
    return {"size": list(mask.shape), "counts": counts}


def annotation(number: int, image: int, **changes: Any) -> dict[str, Any]:
    base = {"id": number, "image_id": image, "category_id": 1, "bbox": [2, 2, 8, 7.5], "iscrowd": 0, "area": 60}
    return {**base, **changes}


def table(names: list[str], annotations: list[dict[str, Any]], first: int = 139, **changes: Any) -> dict[str, Any]:
    images = [
        {
            "license": 3,
            "file_name": name,
            "coco_url": f"http://images.example/{name}",
            "height": H,
            "width": W,
            "date_captured": "2013-11-14 17:02:52",
            "flickr_url": f"http://photos.example/jane/{name}",
            "id": first + number,
        }
        for number, name in enumerate(names)
    ]
    base = {
        "info": {"contributor": "Jane", "year": 2017},
        "licenses": [{"id": 3, "url": "http://licence.example"}],
        "images": images,
        "annotations": annotations,
        "categories": [{"supercategory": "person", "id": 1, "name": "person"}, {"id": 3, "name": "car"}],
    }
    return {**base, **changes}


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def write_coco(root: Path) -> Path:
    """Three images of train (one without objects), one of val, as the COCO downloads lie."""
    for number, name in enumerate(["train2017/0.jpg", "train2017/1.jpg", "train2017/2.jpg", "val2017/0.jpg"]):
        save(root / name, picture(number))
    objects = [
        annotation(7, 139, segmentation=POLYGON, note="Jane's", keypoints=[3, 4, 2, 0, 0, 0], num_keypoints=1),
        annotation(8, 139, segmentation=uncompressed(BLOB), bbox=[12, 3, 8, 11], iscrowd=1),
        annotation(9, 140, segmentation=compressed(BLOB), bbox=[12, 3, 8, 11], category_id=3),
        annotation(10, 140),
    ]
    write(root / "annotations/instances_train2017.json", table(["0.jpg", "1.jpg", "2.jpg"], objects))
    write(root / "annotations/instances_val2017.json", table(["0.jpg"], [annotation(7, 139)]))
    write(root / "annotations/captions_train2017.json", {"images": [], "annotations": []})
    return root
