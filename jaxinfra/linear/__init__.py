"""Level 4: linear models, one a module, all with the verbs fit, decision, predict, objective, optimality."""

from jaxinfra.linear import (
    elastic_net,
    glm,
    group_lasso,
    huber,
    lasso,
    logistic,
    m_estimator,
    multinomial,
    multitask_lasso,
    nnls,
    ols,
    ordinal,
    quantile,
    ransac,
    ridge,
    theil_sen,
)

__all__ = [
    "elastic_net",
    "glm",
    "group_lasso",
    "huber",
    "lasso",
    "logistic",
    "m_estimator",
    "multinomial",
    "multitask_lasso",
    "nnls",
    "ols",
    "ordinal",
    "quantile",
    "ransac",
    "ridge",
    "theil_sen",
]
