"""What must last: tables, the queries over them, and the one writer.

Every row belongs to an organisation, and every query takes it first. engine.py alone knows that the database is
SQLite; the rest is SQLAlchemy Core that any database of ours runs.
"""
