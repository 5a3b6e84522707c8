"""A small site that signs people in through CIAM, and shows every answer to a failure."""
