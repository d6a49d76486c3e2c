"""Tiny object detectors of the very classes that users load, and ONNX files of the layouts that exporters write."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

LABELS = {0: "N/A", 1: "person", 2: "car", 3: "license plate"}
GRID = 4
"""Cells along each side of the ONNX files' input."""
SIDE = 64


def save_yolos(folder: Path, labels: dict[int, str] = LABELS) -> Path:
    """YOLOS with its processor, random weights."""
    import torch
    from transformers import YolosConfig, YolosForObjectDetection
    from transformers.models.yolos.image_processing_pil_yolos import YolosImageProcessorPil

    torch.manual_seed(0)
    config = YolosConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=[64, 64],
        patch_size=16,
        num_detection_tokens=6,
        id2label=labels,
        label2id={name: place for place, name in labels.items()},
    )
    YolosForObjectDetection(config).save_pretrained(folder)
    YolosImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(folder)
    return folder


def save_detr(folder: Path, labels: dict[int, str] = LABELS) -> Path:
    """DETR on a ResNet of transformers, random weights."""
    import torch
    from transformers import DetrConfig, DetrForObjectDetection, ResNetConfig
    from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil

    torch.manual_seed(0)
    backbone = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 16, 16], depths=[1, 1, 1, 1], layer_type="basic", out_features=["stage4"]
    )
    config = DetrConfig(
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        backbone_config=backbone,
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_queries=6,
        id2label=labels,
        label2id={name: place for place, name in labels.items()},
    )
    DetrForObjectDetection(config).save_pretrained(folder)
    DetrImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(folder)
    return folder


def save_rt_detr(folder: Path, labels: dict[int, str] = LABELS) -> Path:
    """RT-DETR, random weights."""
    import torch
    from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrResNetConfig
    from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil

    torch.manual_seed(0)
    backbone = RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 16, 16],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    config = RTDetrConfig(
        backbone_config=backbone,
        encoder_in_channels=[8, 16, 16],
        encoder_hidden_dim=16,
        encoder_layers=1,
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        d_model=16,
        num_queries=6,
        decoder_in_channels=[16, 16, 16],
        decoder_ffn_dim=16,
        decoder_layers=1,
        decoder_attention_heads=2,
        num_denoising=0,
        id2label=labels,
        label2id={name: place for place, name in labels.items()},
    )
    RTDetrForObjectDetection(config).save_pretrained(folder)
    RTDetrImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def cell_boxes() -> np.ndarray:
    """(cells, 4): x0, y0, x1, y1 of the grid's cells in pixels of the input, row by row."""
    step = SIDE // GRID
    y, x = np.mgrid[:GRID, :GRID].reshape(2, -1) * step
    return np.stack([x, y, x + step, y + step], axis=1).astype(np.float32)


def save_yolo(path: Path, layout: str, classes: int = 2) -> str:
    """An ONNX file that finds bright cells of a grid, in class 0, and gives them in `layout`; returns its digest.

    A cell's score is its mean brightness, 0..1, from the middle of the cell (a border is left out, so a thing that
    fills a cell gets its score though it is drawn a pixel off).
    """
    onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
    helper = onnx.helper
    cells = GRID * GRID
    step = SIDE // GRID
    corners = cell_boxes()
    centred = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1)
    constants = {
        "third": np.full((1, 3, 1, 1), 1 / 3, np.float32),
        "row": np.array([1, cells, 1]),
        "boxes": (corners if layout == "end2end" else centred)[None],
        "ones": np.ones((1, cells, 1), np.float32),
        "zeros": np.zeros((1, cells, classes - 1 if layout != "end2end" else 1), np.float32),
    }
    parts = {
        "yolov8": ["boxes", "score", "zeros"],
        "yolov5": ["boxes", "ones", "score", "zeros"],
        "end2end": ["boxes", "score", "zeros"],
    }[layout]
    nodes = [
        helper.make_node("AveragePool", ["images"], ["pooled"], kernel_shape=[step, step], strides=[step, step]),
        helper.make_node("Conv", ["pooled", "third"], ["grey"]),
        helper.make_node("Reshape", ["grey", "row"], ["score"]),
        helper.make_node("Concat", parts, ["table"], axis=2),
        helper.make_node("Transpose", ["table"], ["output"], perm=[0, 2, 1] if layout == "yolov8" else [0, 1, 2]),
    ]
    return _save_onnx(path, nodes, constants, ("images", [1, 3, SIDE, SIDE]), ("output", [1, None, None]))


def save_db(path: Path) -> str:
    """An ONNX file of the DB kind that takes dark pixels for the cores of text; returns its digest."""
    onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
    helper = onnx.helper
    constants = {"weights": np.full((1, 3, 1, 1), -4.0, np.float32)}
    nodes = [
        helper.make_node("Conv", ["x", "weights"], ["dark"]),
        helper.make_node("Sigmoid", ["dark"], ["map"]),
    ]
    return _save_onnx(path, nodes, constants, ("x", [1, 3, None, None]), ("map", [1, 1, None, None]))


def _save_onnx(path: Path, nodes: list, constants: dict, entry: tuple, result: tuple) -> str:
    import onnx

    helper = onnx.helper
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(entry[0], onnx.TensorProto.FLOAT, entry[1])],
        [helper.make_tensor_value_info(result[0], onnx.TensorProto.FLOAT, result[1])],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return hashlib.sha256(path.read_bytes()).hexdigest()
