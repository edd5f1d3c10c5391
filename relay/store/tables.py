"""The tables. Every key begins with the organisation, but that of what is nobody's.

Signed documents are kept verbatim (the JSON of the Signed as `signed`); the columns beside them are what was read
from them after they verified, for searching. *_at: Unix seconds, UTC. Migrations make the same; a test compares.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
)

metadata = MetaData(
    naming_convention={"ix": "ix_%(table_name)s_%(column_0_N_name)s", "pk": "pk_%(table_name)s"},
)

organisations = Table(
    "organisations",
    metadata,
    Column("id", Text, nullable=False),
    Column("added_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("id"),
)

documents = Table(
    "documents",
    metadata,
    Column("organisation", Text, nullable=False),
    Column("kind", Text, nullable=False),  # charter or policy
    Column("epoch", BigInteger, nullable=False),  # of a policy; 0 for charters
    Column("number", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),  # of the payload
    Column("blob", Text, nullable=False),  # SHA-256 of `signed`, under which agents fetch it
    Column("signed", LargeBinary, nullable=False),
    Column("sequence", BigInteger, nullable=False),  # order of acceptance, over both kinds
    Column("accepted_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("organisation", "kind", "sha256"),
    Index(None, "organisation", "blob"),
    Index(None, "organisation", "sequence", unique=True),
)

join_tokens = Table(
    "join_tokens",
    metadata,
    Column("organisation", Text, nullable=False),
    Column("token", Text, nullable=False),
    Column("used", BigInteger, nullable=False),
    PrimaryKeyConstraint("organisation", "token"),
)

devices = Table(
    "devices",
    metadata,
    Column("organisation", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("key", Text, nullable=False),  # public line
    Column("enrolment", LargeBinary, nullable=False),
    Column("token", Text, nullable=False),
    Column("machine", Text, nullable=False),
    Column("enrolled_at", BigInteger, nullable=False),
    Column("revoked", Boolean, nullable=False),  # by the policy in force
    Column("record", LargeBinary),
    Column("record_number", BigInteger, nullable=False),  # 0: provisional
    Column("record_blob", Text),
    Column("report_number", BigInteger, nullable=False),  # highest committed, 0: none
    Column("hostname", Text, nullable=False),
    Column("hostname_key", Text),  # lower case; null: not known
    Column("os", Text, nullable=False),  # for people
    Column("ram", BigInteger),  # bytes; null: not known
    Column("slots_free", BigInteger),  # for memory; null: not known
    Column("signal", BigInteger),  # dBm, of the strongest mobile modem; null: not known
    Column("notes", Text, nullable=False),  # why sections of the last report could not be read
    Column("online", Boolean, nullable=False),
    Column("since_at", BigInteger, nullable=False),  # of `online`
    Column("last_seen_at", BigInteger, nullable=False),
    Column("address", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("held_charter", BigInteger, nullable=False),
    Column("held_epoch", BigInteger, nullable=False),
    Column("held_policy", BigInteger, nullable=False),
    Column("offline_reason", Text, nullable=False),
    Column("offline_since_at", BigInteger, nullable=False),
    Column("forks", Text, nullable=False),  # hashes, separated by spaces
    PrimaryKeyConstraint("organisation", "id"),
    Index(None, "organisation", "hostname_key"),
    Index(None, "organisation", "record_blob"),
    Index(None, "organisation", "online"),
)

device_tags = Table(
    "device_tags",
    metadata,
    Column("organisation", Text, nullable=False),
    Column("tag", Text, nullable=False),
    Column("suggested", Boolean, nullable=False),  # by the join token; else signed, in the device record
    Column("device", Text, nullable=False),
    PrimaryKeyConstraint("organisation", "tag", "suggested", "device"),
    Index(None, "organisation", "device"),
)

device_os = Table(
    "device_os",
    metadata,
    Column("organisation", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("device", Text, nullable=False),
    PrimaryKeyConstraint("organisation", "name", "device"),
    Index(None, "organisation", "device"),
)

inventories = Table(
    "inventories",
    metadata,
    Column("organisation", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("place", BigInteger, nullable=False),  # in software_links, for good: bucket * 32 + bit
    Column("sha256", Text, nullable=False),  # of the section that was read; "": none, or one is being written
    Column("known", Boolean, nullable=False),  # the links are what it says; else its software is not known
    PrimaryKeyConstraint("organisation", "device"),
    Index(None, "place", unique=True),
)

inventory_packages = Table(
    "inventory_packages",
    metadata,
    Column("organisation", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("packages", LargeBinary, nullable=False),  # what is linked, see inventory.pack
    PrimaryKeyConstraint("organisation", "device"),
)
"""Apart from `inventories`, whose rows a search looks at all: 3 KB of each device would be in its way."""

packages = Table(
    "packages",
    metadata,
    Column("key", Integer, nullable=False),
    Column("organisation", Text, nullable=False),
    Column("name_key", Text, nullable=False),  # lower case
    Column("name", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("system", Text, nullable=False),
    Column("source", Text, nullable=False),
    PrimaryKeyConstraint("key"),
    Index(None, "organisation", "name_key", "name", "version", "system", "source", unique=True),
    sqlite_autoincrement=True,  # a key is never given again: who read one may still hold it when its row is gone
)
"""A package in a version once, however many devices have it."""

software_links = Table(
    "software_links",
    metadata,
    Column("bucket", Integer, nullable=False),
    Column("package", Integer, nullable=False),
    Column("mask", BigInteger, nullable=False),
    PrimaryKeyConstraint("bucket", "package"),
    Index(None, "package"),
    sqlite_with_rowid=False,
)
"""Which devices have a package: those of the bucket whose bits are set. It is the organisation's whose package it is.

A row for 32 devices, and a bucket's rows side by side: what a new device has goes to some dozen pages, where a row for
each of its 2,000 packages would go to as many.
"""

findings = Table(
    "findings",
    metadata,
    Column("organisation", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("rank", BigInteger, nullable=False),  # of its severity, 0 the worst
    Column("since_at", BigInteger),
    PrimaryKeyConstraint("organisation", "device", "code", "subject"),
    Index(None, "organisation", "rank", "code", "device", "subject"),
    Index(None, "organisation", "code", "device"),
)

device_findings = Table(
    "device_findings",
    metadata,
    Column("organisation", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("sha256", Text, nullable=False),  # of the section that was read
    Column("known", Boolean, nullable=False),  # it could be
    PrimaryKeyConstraint("organisation", "device"),
)

reports = Table(
    "reports",
    metadata,
    Column("organisation", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),  # of the payload
    Column("signed", LargeBinary, nullable=False),
    Column("collected_at", BigInteger, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("organisation", "device", "number"),
)

report_sections = Table(
    "report_sections",
    metadata,
    Column("organisation", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("collected_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("organisation", "device", "number", "name"),
    Index(None, "organisation", "sha256", "device"),
)

device_samples = Table(
    "device_samples",
    metadata,
    Column("organisation", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("number", BigInteger, nullable=False),  # of the last batch that was committed
    PrimaryKeyConstraint("organisation", "device"),
)

sample_batches = Table(
    "sample_batches",
    metadata,
    Column("organisation", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("from_at", BigInteger, nullable=False),  # of its first sample
    Column("until_at", BigInteger, nullable=False),  # of its last
    Column("signed", LargeBinary, nullable=False),
    PrimaryKeyConstraint("organisation", "device", "number"),
    Index(None, "until_at"),
)

sample_rollups = Table(
    "sample_rollups",
    metadata,
    Column("organisation", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("step", BigInteger, nullable=False),  # seconds of a bucket: see relay/rollup.py
    Column("at", BigInteger, nullable=False),  # beginning of the chunk
    Column("data", LargeBinary, nullable=False),
    PrimaryKeyConstraint("organisation", "device", "step", "at"),
    Index(None, "step", "at"),
)

blobs = Table(
    "blobs",
    metadata,
    Column("organisation", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    PrimaryKeyConstraint("organisation", "sha256"),
)

blob_pieces = Table(
    "blob_pieces",
    metadata,
    Column("organisation", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("position", BigInteger, nullable=False),  # of its first byte
    Column("content", LargeBinary, nullable=False),
    PrimaryKeyConstraint("organisation", "sha256", "position"),
)

blob_owners = Table(
    "blob_owners",
    metadata,
    Column("organisation", Text, nullable=False),
    Column("owner", Text, nullable=False),  # a device's id, or "technician:" and a fingerprint
    Column("sha256", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("kept_at", BigInteger, nullable=False),  # when it was last said to be needed
    PrimaryKeyConstraint("organisation", "sha256", "owner"),  # first: who owns a blob is what is asked most
    Index(None, "organisation", "owner", "size"),
    Index(None, "kept_at"),
)

logins = Table(
    "logins",
    metadata,
    Column("organisation", Text, nullable=False),
    Column("token", Text, nullable=False),  # SHA-256 of the bearer token
    Column("technician", Text, nullable=False),
    Column("certificate", LargeBinary, nullable=False),
    Column("scope", Text, nullable=False),  # full or mailbox
    Column("relay", Text, nullable=False),  # our name as the console dialled it
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("token"),
    Index(None, "expires_at"),
)

mailbox = Table(
    "mailbox",
    metadata,
    Column("organisation", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),  # SHA-256 of the technician's key, hexadecimal
    Column("certificate", Text, nullable=False),  # public line
    Column("valid_before", BigInteger, nullable=False),
    PrimaryKeyConstraint("organisation", "fingerprint"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("organisation", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("technician", Text, nullable=False),
    Column("request", LargeBinary, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("case_id", Text),
    Column("state", Text, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("reason", Text, nullable=False),
    Column("message", Text, nullable=False),
    PrimaryKeyConstraint("organisation", "id"),
    Index(None, "organisation", "started_at"),
    Index(None, "organisation", "device", "started_at"),
)

probes = Table(
    "probes",
    metadata,
    Column("what", Text, nullable=False),
    Column("at", BigInteger, nullable=False),  # milliseconds: another value each time
    PrimaryKeyConstraint("what"),
)
"""Written to find out whether the database takes a write. Nobody's data: it has no organisation."""
