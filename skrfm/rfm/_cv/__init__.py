"""RFM estimators that search their parameters at random, with rounds and folds."""
