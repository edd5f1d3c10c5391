"""Samples and their roll-ups."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "device_samples",
        sa.Column("organisation", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organisation", "device", name="pk_device_samples"),
    )
    op.create_table(
        "sample_batches",
        sa.Column("organisation", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("from_at", sa.BigInteger(), nullable=False),
        sa.Column("until_at", sa.BigInteger(), nullable=False),
        sa.Column("signed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("organisation", "device", "number", name="pk_sample_batches"),
    )
    op.create_index("ix_sample_batches_until_at", "sample_batches", ["until_at"])
    op.create_table(
        "sample_rollups",
        sa.Column("organisation", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("organisation", "device", "step", "at", name="pk_sample_rollups"),
    )
    op.create_index("ix_sample_rollups_step_at", "sample_rollups", ["step", "at"])


def downgrade() -> None:
    for table in ("sample_rollups", "sample_batches", "device_samples"):
        op.drop_table(table)
