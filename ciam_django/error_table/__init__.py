"""Show the table of codes to operators, developers and front ends: ``manage.py ciam_errors``."""
