"""Durable jobs on Celery."""
