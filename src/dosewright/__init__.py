"""Dosewright: deep-learning dose prediction for radiotherapy."""

__version__ = "0.1.0"
