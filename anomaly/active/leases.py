"""Who holds which case, until when: kept in the database, so that a restarted server knows it too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anomaly.active.labels_log import LabelLog, now

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True)
class Lease:
    """One case that somebody holds.

    Attributes
    ----------
    policy, probability : what chose the case, and with which chance
    spare : whether it is kept back for a cut network, in place of being shown
    taken_at, expires_at : microseconds since 1970 UTC
    chosen_at : when it was chosen, which can be after it was taken for a spare, or before it was handed back
    """

    item: str
    annotator: str
    policy: str
    probability: float | None
    spare: bool
    taken_at: int
    chosen_at: int | None
    expires_at: int


class Leases:
    """The cases that are held; of every case there is one holder at most.

    Parameters
    ----------
    log : whose database keeps them
    seconds : how long a case is held without a sign of life
    """

    def __init__(self, log: LabelLog, *, seconds: float = 600.0) -> None:
        self.log = log
        self.seconds = seconds

    def held(self) -> list[Lease]:
        """Return what is held now, the longest held first."""
        with self.log.engine.connect() as connection:
            return self._held(connection)

    def of(self, annotator: str, item: str) -> Lease | None:
        """Return somebody's hold on a case, one that has run out included, unless another has taken it since."""
        from anomaly.active.labels_schema import leases

        with self.log.engine.connect() as connection:
            found = self._select(connection, leases.c.annotator == annotator, leases.c.item == item)
        return found[0] if found else None

    def take(
        self,
        item: str,
        annotator: str,
        policy: str = "",
        probability: float | None = None,
        *,
        chosen_at: int | None = None,
        spare: bool = False,
    ) -> Lease | None:
        """Hold a case, chosen now unless stated, or renew the hold on one's own; None where somebody else holds it."""
        from sqlalchemy import or_
        from sqlalchemy.exc import IntegrityError

        from anomaly.active.labels_schema import leases

        try:
            with self.log.engine.begin() as connection:
                holder = {lease.item: lease for lease in self._held(connection)}.get(item)
                if holder is not None and holder.annotator != annotator:
                    return None
                moment = now()
                # Another server may have taken it meanwhile: only what is one's own or has run out makes room.
                free = or_(leases.c.annotator == annotator, leases.c.expires_at <= moment)
                connection.execute(leases.delete().where(*self._own(), leases.c.item == item, free))
                taken = moment if holder is None else holder.taken_at
                until = moment + self._length
                lease = Lease(item, annotator, policy, probability, spare, taken, chosen_at or moment, until)
                connection.execute(leases.insert().values(session=self.log.session, **vars(lease)))
                return lease
        except IntegrityError:
            # Another server was quicker.
            return None

    def renew(self, annotator: str) -> None:
        """Hold on to everything that somebody holds."""
        from anomaly.active.labels_schema import leases

        moment = now()
        with self.log.engine.begin() as connection:
            connection.execute(
                leases.update()
                .where(*self._own(), leases.c.annotator == annotator, leases.c.expires_at > moment)
                .values(expires_at=moment + self._length)
            )

    def release(self, annotator: str, item: str | None = None) -> None:
        """Give back a case, or all that somebody holds."""
        from anomaly.active.labels_schema import leases

        where = [*self._own(), leases.c.annotator == annotator]
        where += [] if item is None else [leases.c.item == item]
        with self.log.engine.begin() as connection:
            connection.execute(leases.delete().where(*where))

    @property
    def _length(self) -> int:
        return int(self.seconds * 1e6)

    def _own(self) -> list[Any]:
        from anomaly.active.labels_schema import leases

        return [leases.c.session == self.log.session]

    def _held(self, connection: Connection) -> list[Lease]:
        from anomaly.active.labels_schema import leases

        return self._select(connection, leases.c.expires_at > now())

    def _select(self, connection: Connection, *where: Any) -> list[Lease]:
        from sqlalchemy import select

        from anomaly.active.labels_schema import leases

        columns = [leases.c[name] for name in Lease.__dataclass_fields__]
        query = select(*columns).where(*self._own(), *where).order_by(leases.c.taken_at, leases.c.item)
        return [Lease(**row) for row in connection.execute(query).mappings()]
