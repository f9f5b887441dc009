"""Classes and functions as a user imports them."""

from types import FunctionType

from sklearn.base import BaseEstimator

_REFERENCE = "https://skrfm.readthedocs.io/en/latest/generated"


def set_public_module(module, *objects):
    """Set `__module__` of what a package exports to the name of the package.

    Representations, error messages and pickles then have the path that a user imports
    from, which stays where it is when files move. A class that inherits its
    constructor from a private one gets a copy in its own name, because a call with an
    unknown parameter is an error that names the constructor. The HTML representation
    of an estimator links to its page of the reference.
    """
    for item in objects:
        item.__module__ = module
        if isinstance(item, type):
            _name_constructor(item)
        if isinstance(item, type) and issubclass(item, BaseEstimator):
            _link_to_reference(item)


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


def _link_to_reference(cls):
    """Set the page of a class, for the HTML representations of scikit-learn.

    The reference has estimators under the name of the package, and other objects, the
    kernels, under that of their module.
    """
    package = cls.__module__.partition(".")[0]
    path = package if hasattr(cls, "fit") else cls.__module__
    cls._doc_link_module = package
    cls._doc_link_template = f"{_REFERENCE}/{path}.{cls.__name__}.html"
