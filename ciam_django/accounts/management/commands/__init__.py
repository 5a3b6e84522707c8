"""What ``manage.py`` does with identities."""
