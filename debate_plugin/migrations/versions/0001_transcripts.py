"""Transcripts, one a row, as JSON."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "transcripts",
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(24), unique=True, nullable=False),
        sa.Column("run", sa.String(200), nullable=False, index=True),
        sa.Column("question_id", sa.String(200), nullable=False),
        sa.Column("transcript", sa.Text, nullable=False),
    )
