"""Postgres: many processes on one database, each thread driven by one of them."""
