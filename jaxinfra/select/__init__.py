r"""Many fits in one call: paths, folds and grids, and resampling, all by weights.

penalties, product, kfold, cross_validate, cv_loss     choosing hyper-parameters
bootstrap, jackknife, permutation_test, bagging        how much an answer owes to the rows at hand
"""

from jaxinfra.select.bagging import Bagging as Bagging
from jaxinfra.select.bagging import bagging as bagging
from jaxinfra.select.bootstrap import Resamples as Resamples
from jaxinfra.select.bootstrap import bootstrap as bootstrap
from jaxinfra.select.bootstrap import jackknife as jackknife
from jaxinfra.select.cross_validation import CrossValidation as CrossValidation
from jaxinfra.select.cross_validation import cross_validate as cross_validate
from jaxinfra.select.cross_validation import cv_loss as cv_loss
from jaxinfra.select.cross_validation import kfold as kfold
from jaxinfra.select.cross_validation import penalties as penalties
from jaxinfra.select.cross_validation import product as product
from jaxinfra.select.permutation import PermutationTest as PermutationTest
from jaxinfra.select.permutation import permutation_test as permutation_test
