"""Classes and functions as a user imports them."""

from types import FunctionType


def set_public_module(module, *objects):
    """Set `__module__` of what a package exports to the name of the package.

    Representations, error messages and pickles then have the path that a user imports
    from, which stays where it is when files move. A class that inherits its
    constructor from a private one gets a copy in its own name, because a call with an
    unknown parameter is an error that names the constructor.
    """
    for item in objects:
        item.__module__ = module
        if isinstance(item, type):
            _name_constructor(item)


def _name_constructor(cls):
    """Give a class a copy of an inherited constructor that has the name of the class.

    The code is the same, and so is the signature that scikit-learn finds the parameters
    by.
    """
    inherited = cls.__init__
    if "__init__" in vars(cls) or not isinstance(inherited, FunctionType):
        return
    own = FunctionType(
        inherited.__code__,
        inherited.__globals__,
        inherited.__name__,
        inherited.__defaults__,
        inherited.__closure__,
    )
    own.__kwdefaults__ = inherited.__kwdefaults__
    own.__annotations__ = inherited.__annotations__
    own.__doc__ = inherited.__doc__
    own.__module__ = cls.__module__
    own.__qualname__ = f"{cls.__qualname__}.__init__"
    cls.__init__ = own
