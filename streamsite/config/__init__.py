"""The configuration: environment, logging, system checks."""
