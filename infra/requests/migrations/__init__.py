"""Alembic's migrations of the request store, run by `infra.requests.schema`.

To add one: change `infra.requests.tables`, copy the newest file of `versions/`, write both directions of what changed,
and set `HEAD` of `infra.requests.schema` to its id. A migration is never changed once it was released: it is what turns
the stores of that day into those of the next. The tests hold the migrated schema against the tables, on both databases.
"""
