"""What encoders are, as somebody declared it: role, family, repeat. Nothing here reads a name.

A role is declared by (first wins) a table of metadata (``--meta``), the spec of the encoder (``:role=``), the encoder
file's meta, zoo.yaml, and timm's and torchvision's own tags. Encoder files made before roles were written name their
method, and the method's declaration (``Method.role``) says what its encoders are. Everything else is unknown, which is
a role of its own: shown, and never pooled with another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from virb.contracts.analysis import NotApplicable, Option, comma_list, names_in_words
from virb.contracts.roles import ROLES
from virb.contracts.tables import Notes
from virb.errors import RegistryError, ScoresError, UsageError
from virb.scores.schema import About, as_words, check_scores, encoder_table

SELF_SUPERVISED = "self-supervised"
#: Roles of encoders that learned nothing: what others are measured from.
FLOOR = ("untrained", "baseline")

REFERENCE = Option("reference", "", "Encoder to compare with; the only one of role supervised if not given.")
ROLES_OPTION = Option(
    "roles",
    (),
    "Roles of the encoders that are analysed, with commas between, or all; if not given, self-supervised where any role "
    "is declared, else every encoder.",
    type=comma_list,
)


def roles(frame: pd.DataFrame) -> pd.Series:
    """Role of each encoder as declared in the column role; "unknown" where nothing is."""
    table = encoder_table(frame)
    said = table["role"] if "role" in table else pd.Series(np.nan, index=table.index, dtype=object)
    return as_words(said).rename("role")


def families(frame: pd.DataFrame) -> pd.Series:
    """Family of each encoder: the column family, else its method, else the encoder is a family of its own."""
    table = encoder_table(frame)
    out = pd.Series(np.nan, index=table.index, dtype=object)
    for column in ("family", "method"):
        if column in table:
            out = out.where(out.notna(), table[column])
    return as_words(out.where(out.notna(), table.index.to_series())).rename("family")


def with_meta(frame: pd.DataFrame, meta: pd.DataFrame, *, name: str = "the metadata") -> pd.DataFrame:
    """Scores with what a table of metadata says of their encoders; it goes before what the scores say.

    ``attrs["notes"]`` names encoders that only one of the two knows.

    Raises:
        ScoresError: a role is none of ``ROLES``, or no encoder of the table is among the scores.
    """
    known = list(dict.fromkeys(frame["encoder"]))
    stranger = [str(e) for e in meta["encoder"] if e not in set(known)]
    silent = [e for e in known if e not in set(meta["encoder"])]
    if len(stranger) == len(meta):
        raise ScoresError(
            f"{name} is about {names_in_words(stranger)}, none of which is among the scores' encoders: "
            f"{names_in_words(known)}."
        )
    out = frame.copy()
    table = meta.set_index("encoder")
    for column in table.columns:
        said = out["encoder"].map(table[column])
        out[column] = said.where(said.notna(), out[column]) if column in out else said
    notes = [*frame.attrs.get("notes", ())]
    if stranger:
        notes.append(f"{name} speaks of encoders without scores: {names_in_words(stranger)}")
    if silent:
        notes.append(f"{name} says nothing of {names_in_words(silent)}")
    attrs = {key: value for key, value in frame.attrs.items() if key not in ("about", "notes")}
    out.attrs = {"notes": notes}
    out = check_scores(out, name=name)
    out.attrs.update(attrs)
    return out


def declared_by_methods(frame: pd.DataFrame) -> pd.DataFrame:
    """Scores of a results folder with the role of each encoder's pretraining method where its meta says none."""
    if "method" not in frame:
        return frame
    of_method = {method: role_of_method(method) or np.nan for method in frame["method"].dropna().unique()}
    said = frame["method"].map(of_method)
    if "role" in frame:
        said = frame["role"].where(frame["role"] != "unknown", said)
    if said.isna().all():
        return frame
    out = frame.assign(role=said.fillna("unknown"))
    out.attrs = {**frame.attrs, "about": About({**frame.attrs.get("about", {}), "role": "encoder"})}
    return out


def role_of_method(method: Any) -> str | None:
    """The role that a registered pretraining method declares of its encoders; None for a method virb does not know."""
    from virb import registry

    try:
        return str(registry.load("methods", str(method)).role)
    except (RegistryError, UsageError):
        return None


def analysed(frame: pd.DataFrame, notes: Notes, *, asked: Sequence[str] = ()) -> list[str]:
    """Names of the encoders that an analysis of pretraining is about, and say which are left out.

    Where any role is declared these are the self-supervised ones; where none is, every encoder, which is said; and with
    ``asked``, those of the roles asked for.

    Raises:
        UsageError: ``asked`` names no role.
        NotApplicable: no encoder has such a role.
    """
    of = roles(frame)
    wanted = [role.lower() for role in asked]
    wrong = [role for role in wanted if role not in (*ROLES, "all")]
    if wrong:
        raise UsageError(f"roles={','.join(asked)}: expected some of {', '.join(ROLES)}, or all.")
    if "all" in wanted:
        return [str(name) for name in of.index]
    if not wanted:
        if (of == "unknown").all():
            notes.say(
                f"no role is declared, so all {len(of)} encoders are taken, whatever they are; --meta FILE.csv (encoder, "
                "role) says which are self-supervised"
            )
            return [str(name) for name in of.index]
        wanted = [SELF_SUPERVISED]
    kept = of.isin(wanted)
    if not kept.any():
        raise NotApplicable(
            f"It is about {names_in_words(wanted)} encoders, and there is none ({counted(of)}). Choose others with "
            "--option roles=..., or declare roles with --meta FILE.csv (columns encoder, role)."
        )
    if (~kept).any():
        parts = [f"{names_in_words(list(of.index[of == role]))} ({role})" for role in dict.fromkeys(of[~kept])]
        notes.say(f"left out by their role: {'; '.join(parts)}")
    return [str(name) for name in of.index[kept]]


def counted(of: pd.Series) -> str:
    """``3 supervised, 2 unknown``."""
    return ", ".join(f"{n} {role}" for role, n in of.value_counts(sort=False).items())


def reference_encoder(frame: pd.DataFrame, named: str = "") -> str:
    """The encoder that others are compared with: ``named``, else the only one whose role is supervised.

    Raises:
        ScoresError: ``named`` is not among the scores.
        NotApplicable: none is named, and there is no supervised encoder, or more than one.
    """
    encoders = list(dict.fromkeys(frame["encoder"]))
    if named:
        if named not in encoders:
            raise ScoresError(f"There is no encoder {named!r} among the scores; they have {names_in_words(encoders)}.")
        return named
    of = roles(frame)
    supervised = [str(name) for name in of.index[of == "supervised"]]
    if len(supervised) != 1:
        found = f"there are {len(supervised)} ({names_in_words(supervised)})" if supervised else "there is none"
        raise NotApplicable(
            f"It compares with one encoder of role supervised, and {found}. Name the reference: --option "
            "reference=ENCODER; or declare roles with --meta FILE.csv (columns encoder, role)."
        )
    return supervised[0]
