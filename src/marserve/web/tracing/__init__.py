"""Traces: W3C's context of a request, and OpenTelemetry's spans where they are wanted."""
