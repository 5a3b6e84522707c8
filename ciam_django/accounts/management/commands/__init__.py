"""The ``manage.py`` commands for identities."""
