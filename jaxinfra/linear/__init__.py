"""Level 2: linear models, one a module, all with the verbs fit, decision, predict, objective, optimality."""

from jaxinfra.linear import elastic_net as elastic_net
from jaxinfra.linear import glm as glm
from jaxinfra.linear import group_lasso as group_lasso
from jaxinfra.linear import huber as huber
from jaxinfra.linear import lasso as lasso
from jaxinfra.linear import logistic as logistic
from jaxinfra.linear import m_estimator as m_estimator
from jaxinfra.linear import multinomial as multinomial
from jaxinfra.linear import multitask_lasso as multitask_lasso
from jaxinfra.linear import nnls as nnls
from jaxinfra.linear import ols as ols
from jaxinfra.linear import ordinal as ordinal
from jaxinfra.linear import quantile as quantile
from jaxinfra.linear import ransac as ransac
from jaxinfra.linear import ridge as ridge
from jaxinfra.linear import theil_sen as theil_sen
