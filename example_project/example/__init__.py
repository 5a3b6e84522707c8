"""A small site that signs users in through CIAM and shows the answer to every failure."""
