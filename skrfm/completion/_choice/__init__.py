"""The choice among ways to complete a matrix, by hidden entries."""
