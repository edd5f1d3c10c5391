"""The relay's face: one table of routes (routes.py), from which both the server and its OpenAPI document are made."""
