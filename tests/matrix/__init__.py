"""Every stage of signing in × every failure × every surface: what is answered, and how soon."""
