"""Software as packages that devices are linked to, and findings, so that a fleet is searched by them.

What devices had reported before is read again from their sections once the relay runs (relay/inventories.py): for a
large fleet that takes minutes, in which the relay already serves.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.drop_table("device_software")
    op.add_column("devices", sa.Column("signal", sa.BigInteger(), nullable=True))
    op.create_table(
        "inventories",
        sa.Column("organisation", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("place", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("known", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("organisation", "device", name="pk_inventories"),
    )
    op.create_index("ix_inventories_place", "inventories", ["place"], unique=True)
    op.create_table(
        "inventory_packages",
        sa.Column("organisation", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("packages", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("organisation", "device", name="pk_inventory_packages"),
    )
    op.create_table(
        "packages",
        sa.Column("key", sa.Integer(), nullable=False),
        sa.Column("organisation", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_packages"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_packages_organisation_name_key_name_version_system_source",
        "packages",
        ["organisation", "name_key", "name", "version", "system", "source"],
        unique=True,
    )
    op.create_table(
        "software_links",
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.Column("package", sa.Integer(), nullable=False),
        sa.Column("mask", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("bucket", "package", name="pk_software_links"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_software_links_package", "software_links", ["package"])
    op.create_table(
        "findings",
        sa.Column("organisation", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("rank", sa.BigInteger(), nullable=False),
        sa.Column("since_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("organisation", "device", "code", "subject", name="pk_findings"),
    )
    op.create_index("ix_findings_organisation_code_device", "findings", ["organisation", "code", "device"])
    op.create_index(
        "ix_findings_organisation_rank_code_device_subject",
        "findings",
        ["organisation", "rank", "code", "device", "subject"],
    )
    op.create_table(
        "device_findings",
        sa.Column("organisation", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("known", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("organisation", "device", name="pk_device_findings"),
    )


def downgrade() -> None:
    for table in ("device_findings", "findings", "software_links", "packages", "inventory_packages", "inventories"):
        op.drop_table(table)
    op.drop_column("devices", "signal")
    op.create_table(
        "device_software",
        sa.Column("organisation", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("packages", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("organisation", "device", name="pk_device_software"),
    )
