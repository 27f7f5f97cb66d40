"""Conversations: runs of other teams than debates; and which run an unfinished debate is of."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "conversations",
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(24), unique=True, nullable=False),
        sa.Column("run", sa.String(200), nullable=False, index=True),
        sa.Column("conversation", sa.Text, nullable=False),
    )
    op.add_column("unfinished", sa.Column("run", sa.String(200), nullable=False, server_default=""))
