"""Classes and functions as a user imports them."""


def set_public_module(module, *objects):
    """Set `__module__` of what a package exports to the name of the package.

    Representations, error messages and pickles then have the path that a user imports
    from, which stays where it is when files move.
    """
    for item in objects:
        item.__module__ = module
