"""Metadata routing from `fit` to the splitter of folds."""

from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    get_routing_for_object,
)


def splitter_router(estimator, cv):
    """Return the MetadataRouter of an estimator whose `fit` splits rows by `cv`.

    Its `fit` takes `groups`, and passes them to the splitter. A meta-estimator passes
    them to the estimator if the splitter requests them, as ``GroupKFold()`` does, or
    after a call of `set_fit_request`.

    Parameters
    ----------
    estimator : estimator
    cv : int, splitter, iterable or None
        Its parameter of that name.
    """
    own = estimator._get_metadata_request()
    if own.fit.requests.get("groups", False) is None:
        del own.fit.requests["groups"]
    router = MetadataRouter(owner=estimator).add_self_request(own)
    if hasattr(cv, "get_metadata_routing"):
        mapping = MethodMapping().add(caller="fit", callee="split")
        routing = get_routing_for_object(cv)
        router = router.add(splitter=routing, method_mapping=mapping)
    return router
