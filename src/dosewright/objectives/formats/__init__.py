"""Objectives in the formats of planning systems: a writer each, and readers where a format is read back."""
