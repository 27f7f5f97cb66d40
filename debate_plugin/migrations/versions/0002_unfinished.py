"""How far debates have come that are not decided yet."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "unfinished",
        sa.Column("id", sa.String(24), primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
    )
