r"""Many fits in one call: paths, folds and grids, and resampling, all by weights.

penalties, product, paired, kfold, cross_validate, cv_loss     choosing hyper-parameters
bootstrap, jackknife, permutation_test, bagging                how much an answer owes to the rows at hand
"""

from jaxinfra._core import address
from jaxinfra.select.bagging import Bagging, bagging
from jaxinfra.select.bootstrap import Resamples, bootstrap, jackknife
from jaxinfra.select.cross_validation import CrossValidation, cross_validate, cv_loss, kfold
from jaxinfra.select.grids import Candidates, paired, penalties, product
from jaxinfra.select.permutation import PermutationTest, permutation_test

__all__ = [
    "Bagging",
    "bagging",
    "bootstrap",
    "Candidates",
    "cross_validate",
    "CrossValidation",
    "cv_loss",
    "jackknife",
    "kfold",
    "paired",
    "penalties",
    "permutation_test",
    "PermutationTest",
    "product",
    "Resamples",
]

address.at_home(globals())
