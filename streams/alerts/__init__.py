"""Alerts: which message goes to whom and when, and how it is sent."""
