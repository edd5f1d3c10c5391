"""The tables. Every key begins with the organisation, but that of what is nobody's.

Signed documents are kept verbatim (the JSON of the Signed as `signed`); the columns beside them are what was read
from them after they verified, for searching. *_at: Unix seconds, UTC. Migrations make the same; a test compares.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, LargeBinary, MetaData, PrimaryKeyConstraint, Table, Text

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

device_software = Table(
    "device_software",
    metadata,
    Column("organisation", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("sha256", Text, nullable=False),  # of the section it was read from
    Column("packages", LargeBinary, nullable=False),  # see software_map.py
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
