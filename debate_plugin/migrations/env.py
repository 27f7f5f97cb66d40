"""What Alembic runs: the revisions, on the connection that the store hands over."""

from alembic import context

from debate_plugin.schema import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"], version_table=VERSION_TABLE, transactional_ddl=True
)
with context.begin_transaction():
    context.run_migrations()
