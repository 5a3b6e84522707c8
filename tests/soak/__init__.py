"""A soak: many people sign in at a whole deployment, while its parts fail in turn.

``tox run -e soak`` runs it, and ``__main__.py`` has the options.
"""
