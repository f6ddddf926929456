"""The commit is read from a checkout's own files, in each form that they have."""

from __future__ import annotations

from pathlib import Path

from virb.system.commit import commit_of

HASH = "0123456789abcdef0123456789abcdef01234567"


def checkout(folder: Path, head: str, **files: str) -> Path:
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "HEAD").write_text(head + "\n")
    for name, text in files.items():
        path = folder / ".git" / name.replace("__", "/").replace("_", "-")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_a_branch_a_packed_branch_and_a_detached_head(tmp_path):
    assert commit_of(checkout(tmp_path / "a", "ref: refs/heads/main", refs__heads__main=HASH + "\n")) == HASH
    packed = f"# pack-refs\n{HASH} refs/heads/main\n"
    assert commit_of(checkout(tmp_path / "b", "ref: refs/heads/main", packed_refs=packed)) == HASH
    assert commit_of(checkout(tmp_path / "c", HASH)) == HASH


def test_a_worktree_looks_into_the_repository(tmp_path):
    checkout(tmp_path / "main", "ref: refs/heads/main", refs__heads__side=HASH)
    own = tmp_path / "main" / ".git" / "worktrees" / "side"
    own.mkdir(parents=True)
    (own / "HEAD").write_text("ref: refs/heads/side\n")
    (own / "commondir").write_text("../..\n")
    (tmp_path / "side").mkdir()
    (tmp_path / "side" / ".git").write_text(f"gitdir: {own}\n")
    assert commit_of(tmp_path / "side") == HASH


def test_what_is_no_checkout_has_none(tmp_path):
    assert commit_of(tmp_path) is None
    assert commit_of(checkout(tmp_path / "a", "ref: refs/heads/main")) is None
    assert commit_of(checkout(tmp_path / "b", "nonsense")) is None
