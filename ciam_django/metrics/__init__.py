"""Count the events of the package for OpenTelemetry and Prometheus: see ``CIAM_METRICS``."""
