"""Notifications of people: e-mail and a webhook."""
