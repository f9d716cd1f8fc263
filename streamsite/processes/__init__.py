"""The processes of an installation: clusters, their supervisor, priorities."""
