"""What an encoder can be in a comparison: the values of the word role, and the words that are declared with it."""

from __future__ import annotations

from virb.errors import UsageError

ROLES = ("supervised", "self-supervised", "language-supervised", "untrained", "baseline", "unknown")
#: What may be declared of an encoder beside everything else its meta says: ``NAME:role=supervised,family=mine``.
DECLARED = ("role", "family", "repeat")


def check_role(role: str, where: str) -> str:
    """Return the role as virb spells it.

    Raises:
        UsageError: it is none of ``ROLES``.
    """
    spelled = str(role).strip().lower().replace("_", "-").replace(" ", "-")
    if spelled not in ROLES:
        raise UsageError(f"{where}: role={role}; expected one of {', '.join(ROLES)}.")
    return spelled
