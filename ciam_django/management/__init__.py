"""The ``manage.py`` commands for the settings."""
