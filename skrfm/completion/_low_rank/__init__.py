"""Completion by matrices of low rank."""
