"""Who is there: a signed cookie, the words that let people in, and the token that guards forms."""

from __future__ import annotations

import hmac
import os
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self

from anomaly.errors import ArtifactError, DataError

NAME = "labels.key"
_LONGEST_NAME = 60


@dataclass(frozen=True)
class Annotator:
    """Somebody who labels; a lead settles disputes."""

    name: str
    lead: bool


class Gate:
    """What the secret of a session vouches for.

    Parameters
    ----------
    secret : 32 bytes, kept beside the labels, so that nobody has to enter again after a restart
    guarded : whether a token is asked for
    leads : names that lead where no token is asked for

    Attributes
    ----------
    session : tells the session from others that were at the same address
    token, lead_token : let in an annotator, a lead
    """

    def __init__(self, secret: bytes, *, guarded: bool, leads: tuple[str, ...] = ()) -> None:
        self._secret = secret
        self.guarded = guarded
        self.leads = leads
        self.session = self._sign("session")[:16]
        self.token, self.lead_token = self._sign("enter")[:24], self._sign("lead")[:24]

    @classmethod
    def open(cls, folder: Path, *, guarded: bool, leads: tuple[str, ...] = ()) -> Self:
        """Read the secret of a folder, or make one that only its owner can read."""
        path = folder / NAME
        try:
            if not path.exists():
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(handle, "wb") as file:
                    file.write(secrets.token_bytes(32))
            secret = path.read_bytes()
        except OSError as error:
            raise ArtifactError(f"{path}: cannot be written ({error.strerror}); check the folder") from error
        if len(secret) != 32:
            raise ArtifactError(f"{path}: is damaged; delete it, and everybody enters again")
        return cls(secret, guarded=guarded, leads=leads)

    def admit(self, name: str, token: str) -> Annotator | None:
        """Return who somebody is; None where the token is wrong.

        Raises
        ------
        DataError
            If the name is none.
        """
        name = " ".join(name.split())
        if not name or len(name) > _LONGEST_NAME or not name.isprintable():
            raise DataError(f"a name has 1 to {_LONGEST_NAME} letters")
        if not self.guarded:
            return Annotator(name, name in self.leads)
        if hmac.compare_digest(token.encode(), self.lead_token.encode()):
            return Annotator(name, True)
        return Annotator(name, False) if hmac.compare_digest(token.encode(), self.token.encode()) else None

    def cookie(self, annotator: Annotator) -> str:
        """Return a cookie that `who` reads."""
        body = urlsafe_b64encode(annotator.name.encode()).decode().rstrip("=") + ("!" if annotator.lead else ".")
        return body + self._sign("cookie:" + body)

    def who(self, cookie: str | None) -> Annotator | None:
        """Return whom a cookie was given to; None where it was not given here."""
        body, signature = (cookie or "")[:-64], (cookie or "")[-64:]
        if not body or not hmac.compare_digest(signature.encode(), self._sign("cookie:" + body).encode()):
            return None
        name = urlsafe_b64decode(body[:-1] + "=" * (-len(body[:-1]) % 4)).decode()
        # Without tokens the list of leads decides anew at every start.
        return Annotator(name, body[-1] == "!" if self.guarded else name in self.leads)

    def form_token(self, annotator: Annotator) -> str:
        """Return what every form of somebody has to bring."""
        return self._sign("form:" + self.cookie(annotator))

    def is_form_token(self, annotator: Annotator, token: str | None) -> bool:
        """Return whether a form came from a page of this session."""
        return hmac.compare_digest((token or "").encode(), self.form_token(annotator).encode())

    def _sign(self, text: str) -> str:
        return hmac.new(self._secret, text.encode(), sha256).hexdigest()
