"""jaxinfra: classical and small neural models as pure JAX functions.

Each model is a module with the same verbs: `fit`, `decision`, `predict`, `objective`, `optimality`.

    ols, ridge          least squares
    Fit, Info, Status   what every fit returns, and how it ended
    check               raise on the host if a fit did not converge

Importing creates no array, starts no backend and changes no configuration.
"""

from jaxinfra._core.precision import PrecisionWarning as PrecisionWarning
from jaxinfra._core.types import Fit as Fit
from jaxinfra._core.types import FitError as FitError
from jaxinfra._core.types import Info as Info
from jaxinfra._core.types import Linear as Linear
from jaxinfra._core.types import RankInfo as RankInfo
from jaxinfra._core.types import Status as Status
from jaxinfra._core.types import check as check
from jaxinfra.linear import ols as ols
from jaxinfra.linear import ridge as ridge

__version__ = "0.1.0"
