"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "blob_owners",
        sa.Column("organisation", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("kept_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organisation", "sha256", "owner", name="pk_blob_owners"),
    )
    op.create_index("ix_blob_owners_kept_at", "blob_owners", ["kept_at"])
    op.create_index("ix_blob_owners_organisation_owner_size", "blob_owners", ["organisation", "owner", "size"])
    op.create_table(
        "blob_pieces",
        sa.Column("organisation", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("organisation", "sha256", "position", name="pk_blob_pieces"),
    )
    op.create_table(
        "blobs",
        sa.Column("organisation", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organisation", "sha256", name="pk_blobs"),
    )
    op.create_table(
        "device_os",
        sa.Column("organisation", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("organisation", "name", "device", name="pk_device_os"),
    )
    op.create_index("ix_device_os_organisation_device", "device_os", ["organisation", "device"])
    op.create_table(
        "device_software",
        sa.Column("organisation", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("packages", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("organisation", "device", name="pk_device_software"),
    )
    op.create_table(
        "device_tags",
        sa.Column("organisation", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.Column("suggested", sa.Boolean(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("organisation", "tag", "suggested", "device", name="pk_device_tags"),
    )
    op.create_index("ix_device_tags_organisation_device", "device_tags", ["organisation", "device"])
    op.create_table(
        "devices",
        sa.Column("organisation", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("enrolment", sa.LargeBinary(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("machine", sa.Text(), nullable=False),
        sa.Column("enrolled_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked", sa.Boolean(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=True),
        sa.Column("record_number", sa.BigInteger(), nullable=False),
        sa.Column("record_blob", sa.Text(), nullable=True),
        sa.Column("report_number", sa.BigInteger(), nullable=False),
        sa.Column("hostname", sa.Text(), nullable=False),
        sa.Column("hostname_key", sa.Text(), nullable=True),
        sa.Column("os", sa.Text(), nullable=False),
        sa.Column("ram", sa.BigInteger(), nullable=True),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("online", sa.Boolean(), nullable=False),
        sa.Column("since_at", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_at", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("held_charter", sa.BigInteger(), nullable=False),
        sa.Column("held_epoch", sa.BigInteger(), nullable=False),
        sa.Column("held_policy", sa.BigInteger(), nullable=False),
        sa.Column("offline_reason", sa.Text(), nullable=False),
        sa.Column("offline_since_at", sa.BigInteger(), nullable=False),
        sa.Column("forks", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("organisation", "id", name="pk_devices"),
    )
    op.create_index("ix_devices_organisation_hostname_key", "devices", ["organisation", "hostname_key"])
    op.create_index("ix_devices_organisation_online", "devices", ["organisation", "online"])
    op.create_index("ix_devices_organisation_record_blob", "devices", ["organisation", "record_blob"])
    op.create_table(
        "documents",
        sa.Column("organisation", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("blob", sa.Text(), nullable=False),
        sa.Column("signed", sa.LargeBinary(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("accepted_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organisation", "kind", "sha256", name="pk_documents"),
    )
    op.create_index("ix_documents_organisation_blob", "documents", ["organisation", "blob"])
    op.create_index("ix_documents_organisation_sequence", "documents", ["organisation", "sequence"], unique=True)
    op.create_table(
        "join_tokens",
        sa.Column("organisation", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organisation", "token", name="pk_join_tokens"),
    )
    op.create_table(
        "logins",
        sa.Column("organisation", sa.Text(), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("technician", sa.Text(), nullable=False),
        sa.Column("certificate", sa.LargeBinary(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("relay", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("token", name="pk_logins"),
    )
    op.create_index("ix_logins_expires_at", "logins", ["expires_at"])
    op.create_table(
        "mailbox",
        sa.Column("organisation", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("certificate", sa.Text(), nullable=False),
        sa.Column("valid_before", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organisation", "fingerprint", name="pk_mailbox"),
    )
    op.create_table(
        "organisations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_organisations"),
    )
    op.create_table(
        "probes",
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("what", name="pk_probes"),
    )
    op.create_table(
        "report_sections",
        sa.Column("organisation", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("collected_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organisation", "device", "number", "name", name="pk_report_sections"),
    )
    op.create_index(
        "ix_report_sections_organisation_sha256_device", "report_sections", ["organisation", "sha256", "device"]
    )
    op.create_table(
        "reports",
        sa.Column("organisation", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("signed", sa.LargeBinary(), nullable=False),
        sa.Column("collected_at", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organisation", "device", "number", name="pk_reports"),
    )
    op.create_table(
        "sessions",
        sa.Column("organisation", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("technician", sa.Text(), nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("case_id", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("organisation", "id", name="pk_sessions"),
    )
    op.create_index("ix_sessions_organisation_device_started_at", "sessions", ["organisation", "device", "started_at"])
    op.create_index("ix_sessions_organisation_started_at", "sessions", ["organisation", "started_at"])


def downgrade() -> None:
    for table in (
        "sessions",
        "reports",
        "report_sections",
        "organisations",
        "mailbox",
        "logins",
        "join_tokens",
        "documents",
        "devices",
        "device_tags",
        "device_software",
        "device_os",
        "blobs",
        "blob_pieces",
        "blob_owners",
    ):
        op.drop_table(table)
