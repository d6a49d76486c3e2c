"""References to weights: real folders on disk, and a real HTTP server in the hub's place where the network is meant."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from synthgen import weights
from synthgen.types import ConfigError
from synthgen.weights import describe_weights, digest_weights, pin_reference, resolve_weights, verify_reference

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CARD = "---\nlicense: apache-2.0\n---\n# A model\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "model"
    (root / "unet").mkdir(parents=True)
    save_file({"weight": np.zeros(4, np.float32)}, root / "unet" / "diffusion_pytorch_model.safetensors")
    (root / "unet" / "config.json").write_text('{"_class_name": "UNet2DConditionModel"}')
    (root / "README.md").write_text(CARD)
    return root


def test_a_local_folder_is_found_absolute_relative_and_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    for ref in (str(folder), "./model", "model", "model/unet", "../" + folder.parent.name + "/model"):
        assert resolve_weights(ref).is_dir(), ref
    assert resolve_weights("model") == folder.resolve()


def test_a_digest_follows_content_and_names_and_nothing_else(folder: Path, tmp_path: Path) -> None:
    digest = digest_weights(str(folder))
    lines = b"".join(
        f"{name}\0{hashlib.sha256((folder / name).read_bytes()).hexdigest()}\n".encode()
        for name in ("unet/config.json", "unet/diffusion_pytorch_model.safetensors")
    )
    assert digest == hashlib.sha256(lines).hexdigest()
    (folder / "README.md").write_text("a corrected card")
    assert digest_weights(str(folder)) == digest
    (folder / ".cache").mkdir()
    (folder / ".cache" / "download").write_text("when")
    assert digest_weights(str(folder)) == digest
    folder.rename(tmp_path / "moved")
    assert digest_weights(str(tmp_path / "moved")) == digest
    (tmp_path / "moved" / "unet" / "config.json").write_text('{"_class_name": "Other"}')
    assert digest_weights(str(tmp_path / "moved")) != digest


def test_an_expected_digest_is_checked(folder: Path) -> None:
    digest = digest_weights(str(folder))
    assert resolve_weights(f"{folder}#sha256:{digest}") == folder.resolve()
    with pytest.raises(ConfigError, match=f"expected sha256 {'0' * 64}, the folder has {digest}"):
        verify_reference(f"{folder}#sha256:{'0' * 64}")


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("org/name", "unpinned .*no local folder.*synthgen check CONFIG --pin"),
        ("org/name@main", "unpinned .'main' is no commit and can move.*synthgen check CONFIG --pin"),
        (f"org/name@{COMMIT[:12]}", "unpinned"),
        (f"org/name@{COMMIT.upper()}", "unpinned"),
        ("./missing", "there is no folder"),
        ("a/b/c", "not a hub id"),
        (f"org/../name@{COMMIT}", "not a hub id"),
        (f"org/name:../up@{COMMIT}", "not a hub id"),
        ("starter/../weights.py", "leaves the starter"),
        ("https://user:secret@host/org/name", "not a hub id"),
        ("", "not a hub id"),
    ],
)
def test_a_reference_of_another_form_is_refused(ref: str, message: str) -> None:
    for function in (verify_reference, resolve_weights, digest_weights):
        with pytest.raises(ConfigError, match=message) as caught:
            function(ref)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("ref", [f"org/name@{COMMIT}", f"a.b/c_d-1:sub/folder@{COMMIT}"])
def test_a_pinned_hub_id_is_verified_and_named_without_the_network(ref: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    verify_reference(ref)
    info = describe_weights(ref)
    assert (info.ref, info.revision, info.digest, info.licence) == (ref, COMMIT, COMMIT, None)


@pytest.mark.parametrize("suffix", [".bin", ".ckpt", ".pt", ".pth", ".pkl"])
def test_pickles_alone_are_refused(folder: Path, suffix: str) -> None:
    (folder / "vae").mkdir()
    (folder / "vae" / f"weights{suffix}").write_bytes(b"")
    with pytest.raises(ConfigError, match=f"vae/weights{suffix} is a pickle"):
        resolve_weights(str(folder))
    save_file({"weight": np.zeros(1, np.float32)}, folder / "vae" / "weights.safetensors")
    assert resolve_weights(str(folder)) == folder.resolve()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("unet/config.json", '{"auto_map": {"AutoModel": "modeling.Model"}}'),
        ("tokenizer_config.json", '{"auto_map": {"AutoTokenizer": ["a.B", null]}}'),
        ("model_index.json", '{"_class_name": ["pipeline", "Mine"]}'),
        ("unet/modeling.py", "print()"),
    ],
)
def test_remote_code_is_refused(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(ConfigError, match=f"{name} brings code of its own"):
        resolve_weights(str(folder))


def test_an_empty_folder_and_a_broken_config_are_named(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"no \.safetensors file"):
        resolve_weights(str(tmp_path / "empty"))
    (folder / "unet" / "config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"config\.json: can't be read as JSON"):
        resolve_weights(str(folder))


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        (CARD, "apache-2.0"),
        ("---\nlicense: other\nlicense_name: flux-1-dev\n---\n", "flux-1-dev"),
        ("---\nlicense: other\n---\n", "other"),
        ("# no front matter\nlicense: mit\n", None),
        ("---\nlicense: [\n---\n", None),
        ("---\n- a list\n---\n", None),
    ],
)
def test_the_licence_is_the_cards(folder: Path, card: str, licence: str | None) -> None:
    (folder / "README.md").write_text(card)
    info = describe_weights(str(folder))
    assert info.licence == licence and info.revision is None and len(info.digest) == 64


def test_a_part_of_the_starter_has_the_starters_licence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "STARTER", folder.resolve())
    assert resolve_weights("starter") == folder.resolve()
    assert describe_weights("starter/unet").licence == "apache-2.0"
    with pytest.raises(ConfigError, match="'starter/nothing': there is no folder"):
        resolve_weights("starter/nothing")


class FakeHub(BaseHTTPRequestHandler):
    """One repository, `org/name`, with branch `main` and one commit, spoken as the hub speaks it."""

    files: dict[str, bytes]
    asked: list[str]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        type(self).asked.append(self.path)
        path = self.path.partition("?")[0]
        if path.startswith("/api/models/org/name/tree/"):
            entries = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in self.files.items()
            ]
            self.answer(200, json.dumps(entries).encode())
        elif path in ("/api/models/org/name/revision/main", f"/api/models/org/name/revision/{COMMIT}"):
            siblings = [{"rfilename": name} for name in self.files]
            self.answer(200, json.dumps({"id": "org/name", "sha": COMMIT, "siblings": siblings}).encode())
        elif path.startswith(f"/org/name/resolve/{COMMIT}/") and path.split("/", 5)[-1] in self.files:
            self.answer(200, self.files[path.split("/", 5)[-1]])
        else:
            code = "RevisionNotFound" if path.startswith("/api/models/org/name/") else "RepoNotFound"
            self.answer(404, b"{}", {"X-Error-Code": code})

    def answer(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        etag = f'"{hashlib.sha1(data).hexdigest()}"'
        known = {"X-Repo-Commit": COMMIT, "ETag": etag, "Content-Type": "application/json", **(headers or {})}
        for name, value in {**known, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@pytest.fixture
def hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakeHub]]:
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    tensors = files["unet/diffusion_pytorch_model.safetensors"]
    extra = ("v1-5-pruned.safetensors", "unet/diffusion_pytorch_model.fp16.safetensors", "unet/x.bin", "code.py")
    handler = type("Hub", (FakeHub,), {"files": {**files, **dict.fromkeys(extra, tensors)}, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_HUB_CACHE", str(tmp_path / "cache"), raising=False)
    yield handler
    server.shutdown()
    server.server_close()


def test_pinning_asks_the_hub_once_and_leaves_what_is_pinned(hub: type[FakeHub], folder: Path) -> None:
    assert pin_reference("org/name") == f"org/name@{COMMIT}"
    assert pin_reference("org/name:unet@main") == f"org/name:unet@{COMMIT}"
    asked = len(hub.asked)
    for ref in (f"org/name@{COMMIT}", str(folder)):
        assert pin_reference(ref) == ref
    assert len(hub.asked) == asked


@pytest.mark.parametrize(
    ("ref", "message"),
    [("org/other", "no such repository"), ("org/name@gone", "no revision 'gone'")],
)
def test_pinning_what_is_not_there_is_named(hub: type[FakeHub], ref: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pin_reference(ref)


def test_a_hub_that_is_away_is_named_without_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://me:hf_private123456@127.0.0.1:9")
    with pytest.raises(ConfigError, match="the hub could not be read") as caught:
        pin_reference("org/name")
    assert "private" not in str(caught.value) and caught.value.__suppress_context__


def test_a_download_takes_safetensors_and_configs_alone(hub: type[FakeHub]) -> None:
    path = resolve_weights(f"org/name@{COMMIT}")
    names = {found.relative_to(path).as_posix() for found in path.rglob("*") if found.is_file()}
    assert names == {"README.md", "unet/config.json", "unet/diffusion_pytorch_model.safetensors"}
    assert resolve_weights(f"org/name:unet@{COMMIT}").name == "unet"
    named = resolve_weights(f"org/name@{COMMIT}", extra=("v1-5-pruned.safetensors",))
    assert (named / "v1-5-pruned.safetensors").is_file()


def test_offline_uses_the_cache_or_says_what_to_run(hub: type[FakeHub], monkeypatch: pytest.MonkeyPatch) -> None:
    ref = f"org/name@{COMMIT}"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=f"HF_HUB_OFFLINE=1.*`hf download org/name --revision {COMMIT}`"):
        resolve_weights(ref)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    path = resolve_weights(ref)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert resolve_weights(ref) == path
    assert describe_weights(ref).licence == "apache-2.0"
