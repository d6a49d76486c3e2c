"""Weights by reference: where they lie, that they are what was asked for, and that loading them runs no foreign code.

A reference is one string: a local folder (with an optional `#sha256:<64 hex>` that its content must have), a part of
the embedded starter (`starter`, `starter/controlnet-canny`), or a hub repository pinned to a commit
(`org/name@<40 hex>`, `org/name:subfolder@<40 hex>`). A branch or a tag can be moved under a finished run, a pickle can
run code when it is read, and a repository with its own Python runs code by design: all three are refused. Tokens and
passwords never reach a message.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from synthgen.redaction import redact
from synthgen.types import ConfigError

STARTER = Path(__file__).parent / "starter"
PICKLES = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle"})
HUB_FORM = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?::(?P<subfolder>[\w.][\w./-]*))?(?:@(?P<revision>[\w./-]+))?"
)
COMMIT = re.compile(r"[0-9a-f]{40}")
WEIGHT_FILES = ("*model*.safetensors", "pytorch_lora_weights.safetensors", "*/pytorch_lora_weights.safetensors")
"""Weights as diffusers, transformers and peft name them; not the single-file checkpoints that lie beside them."""
OTHER_FILES = ("*.json", "*.txt", "*.model", "*.jinja", "README.md")
VARIANTS = ("*.fp16*", "*.bf16*", "*.non_ema*", "*flax*", "*onnx*", "*openvino*")


@dataclass(frozen=True)
class WeightsInfo:
    """What a report says about one set of weights. `revision` is the hub's commit; `licence` is the model card's."""

    ref: str
    revision: str | None
    digest: str
    licence: str | None


@dataclass(frozen=True)
class _Reference:
    """A parsed reference: `folder` for local weights, else `repo` (and perhaps `subfolder`, `revision`)."""

    ref: str
    folder: Path | None = None
    expected: str | None = None
    repo: str = ""
    subfolder: str = ""
    revision: str = ""


def verify_reference(ref: str) -> None:
    """Check a reference without the network: its form, its pin, and for local weights the folder itself.

    Raises:
        ConfigError: no such folder, an unpinned hub id, pickles alone, remote code, another digest.
    """
    parsed = _parse(ref)
    if parsed.folder is not None:
        _check_folder(parsed.folder, ref)
        _check_digest(parsed)
    elif not COMMIT.fullmatch(parsed.revision):
        raise _error(_unpinned(parsed))


def resolve_weights(ref: str, extra: tuple[str, ...] = ()) -> Path:
    """The local folder of the weights; a pinned hub snapshot is downloaded into the hub's cache first.

    Args:
        extra: names of further files to download, such as a LoRA that has a name of its own.

    Raises:
        ConfigError: what `verify_reference` refuses, or a download that fails or is not allowed (`HF_HUB_OFFLINE=1`).
    """
    parsed = _parse(ref)
    if parsed.folder is not None:
        verify_reference(ref)
        return parsed.folder
    if not COMMIT.fullmatch(parsed.revision):
        raise _error(_unpinned(parsed))
    folder = _download(parsed, extra) / parsed.subfolder
    _check_folder(folder, ref)
    return folder


def digest_weights(ref: str) -> str:
    """Hex that names the content: the pinned commit of a hub id, else SHA-256 over all files of the folder.

    A folder's digest hashes `<path> NUL <SHA-256 of the file> LF` over its files in order of path; hidden files are
    left out. It is computed once a process for files of unchanged size and time.

    Raises:
        ConfigError: what `verify_reference` refuses.
    """
    verify_reference(ref)
    parsed = _parse(ref)
    return parsed.revision if parsed.folder is None else _folder_digest(parsed.folder)


def describe_weights(ref: str) -> WeightsInfo:
    """Revision, digest and licence, without the network (an undownloaded hub id has no licence yet: None).

    Raises:
        ConfigError: what `verify_reference` refuses.
    """
    digest = digest_weights(ref)
    parsed = _parse(ref)
    if parsed.folder is not None:
        cards = [parsed.folder / "README.md"]
        if parsed.folder.is_relative_to(STARTER):
            cards.append(STARTER / "README.md")
        return WeightsInfo(ref, None, digest, _licence(cards))
    from huggingface_hub import try_to_load_from_cache

    card = try_to_load_from_cache(parsed.repo, "README.md", revision=parsed.revision)
    return WeightsInfo(ref, parsed.revision, digest, _licence([Path(card)] if isinstance(card, str) else []))


def pin_reference(ref: str) -> str:
    """The reference with its branch or tag (`main` if it names none) replaced by the commit that the hub gives now.

    Local folders and pinned references come back as they are.

    Raises:
        ConfigError: the hub can't be reached, or has no such repository or revision, or asks for a login.
    """
    parsed = _parse(ref)
    if parsed.folder is not None or COMMIT.fullmatch(parsed.revision):
        return ref
    from huggingface_hub import HfApi

    try:
        commit = HfApi().model_info(parsed.repo, revision=parsed.revision or "main").sha
    except Exception as error:
        raise _hub_error(parsed, error) from None
    subfolder = f":{parsed.subfolder}" if parsed.subfolder else ""
    return f"{parsed.repo}{subfolder}@{commit}"


def _error(message: str) -> ConfigError:
    return ConfigError(redact(message))


def _parse(ref: str) -> _Reference:
    path, _, expected = ref.partition("#sha256:")
    if path == "starter" or path.startswith("starter/"):
        folder = (STARTER / path.removeprefix("starter").lstrip("/")).resolve()
        if not folder.is_relative_to(STARTER.resolve()):
            raise _error(f"weights {ref!r}: leaves the starter's folder")
        return _Reference(ref, folder, expected or None)
    folder = Path(path).expanduser()
    if folder.is_absolute() or path.startswith((".", "~")) or (path and "@" not in path and folder.is_dir()):
        return _Reference(ref, folder.resolve(), expected or None)
    match = HUB_FORM.fullmatch(ref)
    if match is None or ".." in ref:
        raise _error(
            f"weights {ref!r}: there is no such folder, and it is not a hub id of the form org/name@<commit> or "
            "org/name:subfolder@<commit>"
        )
    return _Reference(ref, None, None, match["repo"], match["subfolder"] or "", match["revision"] or "")


def _unpinned(parsed: _Reference) -> str:
    what = f"{parsed.revision!r} is no commit and can move" if parsed.revision else "and no local folder has that name"
    subfolder = f":{parsed.subfolder}" if parsed.subfolder else ""
    return (
        f"weights {parsed.ref!r}: unpinned ({what}): run `synthgen check CONFIG --pin`, "
        f"or write {parsed.repo}{subfolder}@<40-hex commit>"
    )


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """(path below `folder` with forward slashes, path) of every file that is not hidden, in order."""
    paths = ((path.relative_to(folder), path) for path in folder.rglob("*"))
    shown = ((part, path) for part, path in paths if not any(name.startswith(".") for name in part.parts))
    return iter(sorted((part.as_posix(), path) for part, path in shown if path.is_file()))


def _check_folder(folder: Path, ref: str) -> None:
    if not folder.is_dir():
        raise _error(f"weights {ref!r}: there is no folder {folder}; correct the path, or give a pinned hub id")
    files = dict(_files(folder))
    for name, path in files.items():
        if path.suffix == ".py" or (name.endswith(("config.json", "model_index.json")) and _names_code(path)):
            raise _error(
                f"weights {ref!r}: {name} brings code of its own (`auto_map` or Python files), which is never run; "
                "use a model that diffusers or transformers implement themselves"
            )
    safe = {Path(name).parent for name in files if name.endswith(".safetensors")}
    for name in files:
        if Path(name).suffix in PICKLES and Path(name).parent not in safe:
            raise _error(
                f"weights {ref!r}: {name} is a pickle and has no .safetensors beside it; pickles can run code and are "
                "never read. Use a revision with safetensors, or load and save it once with safe_serialization=True"
            )
    if not safe:
        raise _error(f"weights {ref!r}: no .safetensors file below {folder}")


def _names_code(path: Path) -> bool:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _error(f"{path}: can't be read as JSON: {error}") from None
    return isinstance(value, dict) and ("auto_map" in value or isinstance(value.get("_class_name"), list))


def _check_digest(parsed: _Reference) -> None:
    if parsed.expected is None or parsed.folder is None:
        return
    digest = _folder_digest(parsed.folder)
    if digest != parsed.expected:
        raise _error(
            f"weights {parsed.ref!r}: expected sha256 {parsed.expected}, the folder has {digest}; "
            "the weights changed, or the digest in the config is of others"
        )


_DIGESTS: dict[tuple[tuple[str, int, int], ...], str] = {}


def _folder_digest(folder: Path) -> str:
    """Over all files but the model card: a corrected sentence is no change of the weights."""
    files = [(name, path) for name, path in _files(folder) if path.name != "README.md"]
    stats = [(path, path.stat()) for _, path in files]
    key = tuple((str(path.resolve()), stat.st_size, stat.st_mtime_ns) for path, stat in stats)
    if key not in _DIGESTS:
        total = hashlib.sha256()
        for name, path in files:
            with path.open("rb") as stream:
                total.update(f"{name}\0{hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
        _DIGESTS[key] = total.hexdigest()
    return _DIGESTS[key]


def _licence(cards: list[Path]) -> str | None:
    """The `license` (or, where it is `other`, the `license_name`) of the first card with front matter."""
    for card in cards:
        if card.is_file():
            match = re.match(r"---\s*\n(.*?)\n---\s*(\n|$)", card.read_text(encoding="utf-8", errors="replace"), re.S)
            try:
                front = yaml.safe_load(match[1]) if match else None
            except yaml.YAMLError:
                front = None
            if isinstance(front, dict) and front.get("license"):
                licence = front["license"]
                return str(front.get("license_name", licence)) if licence == "other" else str(licence)
    return None


def _download(parsed: _Reference, extra: tuple[str, ...]) -> Path:
    from huggingface_hub import constants, snapshot_download

    prefix = f"{parsed.subfolder}/" if parsed.subfolder else ""
    wanted = [prefix + name for name in (*WEIGHT_FILES, *OTHER_FILES, *extra)]
    offline = bool(constants.HF_HUB_OFFLINE)
    try:
        path = snapshot_download(
            parsed.repo,
            revision=parsed.revision,
            allow_patterns=[*wanted, "README.md"],
            ignore_patterns=list(VARIANTS),
            local_files_only=offline,
        )
    except Exception as error:
        if offline:
            raise _offline_error(parsed) from None
        raise _hub_error(parsed, error) from None
    if offline and not any(Path(path, parsed.subfolder).rglob("*.safetensors")):
        raise _offline_error(parsed)
    return Path(path)


def _offline_error(parsed: _Reference) -> ConfigError:
    return _error(
        f"weights {parsed.ref!r}: not in the hub cache, and HF_HUB_OFFLINE=1 is set. On a machine with the network run "
        f"`hf download {parsed.repo} --revision {parsed.revision}`, or unset HF_HUB_OFFLINE"
    )


def _hub_error(parsed: _Reference, error: Exception) -> ConfigError:
    reasons = {
        "GatedRepoError": "the repository asks you to accept its terms on its page and to log in (`hf auth login`)",
        "RepositoryNotFoundError": "the hub has no such repository, or it is private and you are not logged in",
        "RevisionNotFoundError": f"the repository has no revision {parsed.revision!r}",
    }
    reason = reasons.get(type(error).__name__, f"the hub could not be read ({type(error).__name__}: {error})")
    return _error(f"weights {parsed.ref!r}: {reason}")
