"""The zip around a torch file: what it is, whether it is whole, and how much it says it holds, before any of it is read."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from virb.errors import CheckpointError

MARGIN_BYTES = 64 << 20  # what a file may hold beyond a few times its own size


def damaged(path: Path, error: Exception | str) -> CheckpointError:
    """Return the refusal of a file that is not as it was written."""
    reason = str(error).strip().split("\n")[0][:300] or type(error).__name__
    return CheckpointError(
        f"{path} ({path.stat().st_size} bytes) is truncated or damaged: {reason}. Copy or download it again."
    )


def too_large(path: Path, n_bytes: int) -> CheckpointError:
    """Return the refusal of a file that declares far more than it holds."""
    return CheckpointError(
        f"{path} ({path.stat().st_size} bytes) says that it holds {n_bytes / 1e9:.2f} GB of tensors, many times its own "
        "size. Weights are not repeated or empty: expected a file about as large as its tensors. Nothing was read. If you "
        "trust it, load it where it was made and save contiguous copies of its tensors with torch.save."
    )


def is_within(path: Path, n_bytes: int) -> bool:
    """Whether ``n_bytes`` of tensors can honestly come from the file."""
    return n_bytes <= 4 * path.stat().st_size + MARGIN_BYTES


def check_archive(path: Path) -> bool:
    """Check a zip written by torch.save by its own directory and checksums; return whether it is a TorchScript program.

    Raises:
        CheckpointError: it is another kind of zip, damaged, holds two members of one name, or declares more than it has.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            is_script = _is_script(path, names)
            twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
            if twice:
                raise CheckpointError(
                    f"{path} holds {twice[0]!r} twice, and readers differ in which of the two they take. A file of "
                    "torch.save holds each member once; make it again or download it again."
                )
            declared = sum(member.file_size for member in members)
            if not is_within(path, declared):
                raise too_large(path, declared)
            # torch can be told to write no checksums, and then all are zero.
            if any(member.CRC for member in members):
                _check_sums(path, archive, members)
    except (zipfile.BadZipFile, zlib.error, OSError, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise damaged(path, error) from error
    return is_script


def _check_sums(path: Path, archive: zipfile.ZipFile, members: Sequence[zipfile.ZipInfo]) -> None:
    for member in members:
        n_bytes = 0
        try:
            with archive.open(member) as file:
                while block := file.read(1 << 20):
                    n_bytes += len(block)
        except zipfile.BadZipFile as error:
            raise damaged(path, f"the checksum of {member.filename} does not match ({error})") from error
        if n_bytes != member.file_size:
            raise damaged(path, f"{member.filename} has {n_bytes} bytes where {member.file_size} are declared")


def _is_script(path: Path, names: Sequence[str]) -> bool:
    inner = {name.partition("/")[2] for name in names}
    if "data.pkl" in inner:
        return "constants.pkl" in inner or any(name.startswith("code/") for name in inner)
    if any(name.endswith((".pt2", "archive_format", "serialized_exported_program.json")) for name in names) or any(
        "/models/" in f"/{name}" and name.endswith(".json") for name in names
    ):
        raise CheckpointError(
            f"{path} is a program of torch.export (.pt2), not weights. Where it was made, save the module's state_dict() "
            "with torch.save."
        )
    if names and all(name.endswith(".npy") for name in names):
        raise CheckpointError(
            f"{path} is an archive of numpy arrays (.npz), as JAX releases use, whose names and axes are not torch's. "
            "Convert it with the release's own converter (timm reads several), and save the state_dict() with torch.save."
        )
    if any(name.endswith(".weights.h5") for name in names):
        raise CheckpointError(f"{path} is a Keras model (.keras); expected weights of a torch network.")
    raise CheckpointError(
        f"{path} is a zip archive of {len(names)} files ({', '.join(names[:3])}), and none is the data.pkl that "
        "torch.save writes. If the weights are one of them, unpack it first."
    )
