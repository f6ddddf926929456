"""The folder of a report: made aside, moved into place file by file, and never at the cost of a file that is not ours."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from virb.errors import UsageError, VirbError
from virb.system.files import atomic_write, check_writable

MANIFEST = "report.json"
FORMAT = "virb-report/1"


@contextlib.contextmanager
def replacing(out: Path) -> Iterator[Path]:
    """Yield an empty folder; when the block ends without an error its files take the place of an earlier report's.

    Files of the earlier report that the new one lacks are removed; files that no report wrote stay. An error or a kill
    before the end leaves the earlier report as it was.

    Raises:
        UsageError: ``out`` cannot be written to, holds files but no report, or a foreign file is in the way.
    """
    old = _listed(out)
    check_writable(out)
    aside = Path(tempfile.mkdtemp(prefix=".report-", suffix=".tmp", dir=out))
    try:
        yield aside
        new = sorted(path.relative_to(aside).as_posix() for path in aside.rglob("*") if path.is_file())
        in_the_way = [name for name in new if name not in old and os.path.lexists(out / name)]
        folders = {Path(name).parent.as_posix() for name in new}
        in_the_way += [name for name in sorted(folders) if (out / name).exists() and not (out / name).is_dir()]
        if in_the_way:
            raise UsageError(
                f"{out / in_the_way[0]} is not of an earlier report, and would be overwritten. Move it, or choose another "
                "folder with --out."
            )
        _write_manifest(out, {*old, *new})  # whatever is cut off now, the next report knows what is ours
        for name in new:
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(aside / name, out / name)
        for name in old - set(new):
            with contextlib.suppress(FileNotFoundError):
                (out / name).unlink()
            with contextlib.suppress(OSError):  # not empty: there is more in it
                (out / name).parent.rmdir()
        _write_manifest(out, set(new))
    except OSError as error:
        raise VirbError(f"Cannot write the report to {out}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _listed(out: Path) -> set[str]:
    """Files of the report that lies in ``out``, relative to it; none where there is no report yet."""
    if not out.exists():
        return set()
    if not out.is_dir():
        raise UsageError(f"{out} is a file. Name a folder for the report with --out.")
    try:
        manifest = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        manifest = None
    if isinstance(manifest, dict) and manifest.get("format") == FORMAT and isinstance(manifest.get("files"), list):
        return {name for name in manifest["files"] if isinstance(name, str) and _is_inside(name)}
    foreign = sorted(path.name for path in out.iterdir() if not path.name.startswith("."))
    if foreign:
        raise UsageError(
            f"{out} holds files that are not of a report ({foreign[0]}, ...), and a report would mix with them. Choose "
            "another folder with --out."
        )
    return set()


def _is_inside(name: str) -> bool:
    """Whether a manifest's entry stays in the folder: the file may have been edited, or come from elsewhere."""
    path = Path(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts


def _write_manifest(out: Path, files: set[str]) -> None:
    text = json.dumps({"format": FORMAT, "files": sorted(files)}, indent=1)
    with atomic_write(out / MANIFEST) as file:
        file.write(text.encode())
