"""Completion of images."""
