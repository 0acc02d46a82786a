"""Level 2: linear models, one a module, all with the verbs fit, decision, predict, objective, optimality."""

from jaxinfra.linear import multinomial as multinomial
from jaxinfra.linear import ols as ols
from jaxinfra.linear import ridge as ridge
