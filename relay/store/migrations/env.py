"""How Alembic runs our migrations: on the connection, and in the transaction, that relay.store.migrate hands it."""

from alembic import context

from relay.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters tables by copying them
)
with context.begin_transaction():
    context.run_migrations()
