"""Everything that a request may need, wired once (app.py)."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from protocol.system_clock import Clock
from relay.admission import Buckets, Crowd
from relay.authorities import Authorities
from relay.config import Config
from relay.events import Events
from relay.inventories import Inventories
from relay.link_driver import LinkDriver
from relay.links import Links
from relay.logins import Logins
from relay.metrics import Metrics
from relay.quotas import Quotas
from relay.sessions import Sessions
from relay.stopping import Stopping
from relay.store.store import Store
from relay.uploads import Uploads


class Services(msgspec.Struct, frozen=True, kw_only=True):
    """strangers: requests per address.  greeting: links that have not said hello yet.  entropy: n random bytes."""

    config: Config
    names: tuple[str, ...]
    clock: Clock
    entropy: Callable[[int], bytes]
    store: Store
    authorities: Authorities
    events: Events
    metrics: Metrics
    logins: Logins
    links: Links
    sessions: Sessions
    inventories: Inventories
    link_driver: LinkDriver
    uploads: Uploads
    quotas: Quotas
    strangers: Buckets
    greeting: Crowd
    stopping: Stopping
