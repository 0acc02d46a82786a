"""The implementations of support vector machines: `ADAPTERS[model][name]` is an `Adapter`."""

import numpy as np

from bench.certificates.least_squares import Answer
from bench.certificates.machines import rounded
from bench.peers.adapter import TOLERANCES, Adapter, estimator, jaxinfra, optional
from bench.suite import settings

SKLEARN, INTELEX = "sklearn.svm", "sklearnex.svm"
# All of them mean the violation; the second tolerance is for those whose sums are less exact than the certificate's.
RULE = (1e-3, 3e-4)
HARD = (1e-6,)
CACHE = 1000  # MB of kernel rows


def _pairs(task, fitted):
    """scikit-learn's packed coefficients as one row a pair of classes, in libsvm's order, positive for the first."""
    K = len(fitted.classes_)
    starts = np.concatenate([[0], np.cumsum(fitted.n_support_)])
    found, at = np.zeros((K * (K - 1) // 2, len(task.X))), 0
    for i in range(K):
        for j in range(i + 1, K):
            for c, row in ((i, j - 1), (j, i)):
                part = slice(starts[c], starts[c + 1])
                found[at, fitted.support_[part]] = fitted.dual_coef_[row, part]
            at += 1
    return found


def _machine(library, name, *names, tolerances=RULE):
    """An estimator of `library` whose arguments `names` and then gamma are the hyper-parameters."""

    def prepare(task, tol=None):
        kind = getattr(optional(library), name)
        numbers = rounded(task)
        given = dict(zip(names, numbers, strict=False), gamma=numbers[-1], cache_size=CACHE, tol=tol)
        model = kind(kernel="rbf", **given)
        data = (task.X,) if name == "OneClassSVM" else (task.X, task.y)

        def read(fitted):
            if fitted.dual_coef_.shape[0] > 1:
                # Ours are positive for the second class of a pair.
                return Answer(-_pairs(task, fitted), -np.asarray(fitted.intercept_))
            coef = np.zeros(len(task.X))
            coef[np.asarray(fitted.support_).ravel()] = np.asarray(fitted.dual_coef_).ravel()
            return Answer(coef, float(np.ravel(fitted.intercept_)[0]))

        return lambda: model.fit(*data), read

    return Adapter(prepare, tolerances)


def _libsvm(kind, *flags, tolerances=RULE):
    """libsvm itself, whose rows are sparse and in float64; made outside the clock."""

    def prepare(task, tol=None):
        util = optional("libsvm.svmutil")
        numbers = rounded(task).tolist()
        words = [f"-s {kind} -t 2 -g {numbers[-1]} -e {tol} -m {CACHE} -q"]
        words += [f"{flag} {value}" for flag, value in zip(flags, numbers, strict=False)]
        problem = util.svm_problem(task.y.astype(float), optional("scipy.sparse").csr_matrix(task.X))
        options = util.svm_parameter(" ".join(words))

        def read(model):
            at = np.array(model.get_sv_indices()) - 1
            coef = np.zeros((model.nr_class - 1 if kind < 2 else 1, len(task.X)))
            coef[:, at] = np.array(model.get_sv_coef()).T
            first = kind >= 2 or model.get_labels()[0] == 1  # positive for the class that comes first in the data
            return Answer(coef[0] if first else -coef[0], -model.rho[0] if first else model.rho[0])

        return lambda: util.svm_train(problem, options), read

    # One run is enough for both dtypes: it always computes in float64.
    return Adapter(prepare, tolerances, _double)


def _double(task):
    return task.X.dtype == np.float64


def _grid(jobs, library=SKLEARN):
    def prepare(task, tol=None):
        select = optional("sklearn.model_selection")
        Cs, gammas = rounded(task)
        search = select.GridSearchCV(
            optional(library).SVC(cache_size=CACHE, tol=tol), {"C": Cs.tolist(), "gamma": gammas.tolist()},
            cv=select.KFold(settings.FOLDS), n_jobs=jobs,
        )  # fmt: skip

        def read(fitted):
            best, coef = fitted.best_estimator_, np.zeros(len(task.X))
            coef[best.support_] = best.dual_coef_[0]
            return Answer(coef, float(best.intercept_[0]), np.array([best.C, best.gamma]))

        return lambda: search.fit(task.X, task.y), read

    return Adapter(prepare, RULE)


def _predict(library):
    """Decisions by a machine whose rows are all support vectors, because C is small."""

    def prepare(task, tol=None):
        C, _, gamma = rounded(task)
        fitted = optional(library).SVC(C=C, gamma=gamma, cache_size=CACHE).fit(task.X, task.y)
        coef = np.zeros(len(task.X))
        coef[np.asarray(fitted.support_).ravel()] = np.asarray(fitted.dual_coef_).ravel()
        intercept = float(np.ravel(fitted.intercept_)[0])
        return lambda: fitted.decision_function(task.X), lambda values: Answer(coef, intercept, values=np.ravel(values))

    return Adapter(prepare)


# Loosest first. liblinear's rule is the projected gradient; its own default is 0.1, scikit-learn's 1e-4.
LINEAR = (0.1, 0.03, 0.01, *TOLERANCES[:7])


def _liblinear():
    def prepare(task, tol=None):
        util = optional("liblinear.liblinearutil")
        problem = util.problem(task.y.astype(float), optional("scipy.sparse").csr_matrix(task.X), bias=1)
        options = util.parameter(f"-s 3 -c {float(task.hyper)} -e {tol} -B 1 -q")

        def read(model):
            coef, intercept = model.get_decfun()
            sign = 1 if model.get_labels()[0] == 1 else -1
            return Answer(sign * np.array(coef), sign * intercept)

        return lambda: util.train(problem, options), read

    return Adapter(prepare, LINEAR, _double)


def _linear(loss, dual, scaling):
    return estimator(
        SKLEARN, "LinearSVC", LINEAR, loss=loss, dual=dual, intercept_scaling=scaling, max_iter=100_000,
        C=lambda task: float(task.hyper),
    )  # fmt: skip


ADAPTERS = {
    "svc": {
        "jaxinfra": jaxinfra("svc", RULE),
        "sklearn": _machine(SKLEARN, "SVC", "C"),
        "sklearnex": _machine(INTELEX, "SVC", "C"),
        "libsvm": _libsvm(0, "-c"),
    },
    "svc_hard": {
        "jaxinfra": jaxinfra("svc_hard", HARD)._replace(suits=_double),
        "sklearn": _machine(SKLEARN, "SVC", "C", tolerances=HARD)._replace(suits=_double),
        "sklearnex": _machine(INTELEX, "SVC", "C", tolerances=HARD)._replace(suits=_double),
        "libsvm": _libsvm(0, "-c", tolerances=HARD),
    },
    "svc_pairs": {
        "jaxinfra": jaxinfra("svc_pairs", RULE),
        "sklearn": _machine(SKLEARN, "SVC", "C"),
        "sklearnex": _machine(INTELEX, "SVC", "C"),
    },
    "svc_grid": {
        "jaxinfra": jaxinfra("svc_grid", RULE),
        "sklearn": _grid(None),
        "sklearn jobs": _grid(-1),
        "sklearnex": _grid(None, INTELEX),
    },
    "svc_predict": {
        "jaxinfra": jaxinfra("svc_predict", (None,)),
        "sklearn": _predict(SKLEARN),
        "sklearnex": _predict(INTELEX),
    },
    "nu_svc": {
        "jaxinfra": jaxinfra("nu_svc", RULE),
        "sklearn": _machine(SKLEARN, "NuSVC", "nu"),
        "sklearnex": _machine(INTELEX, "NuSVC", "nu"),
        "libsvm": _libsvm(1, "-n"),
    },
    "svr": {
        "jaxinfra": jaxinfra("svr", RULE),
        "sklearn": _machine(SKLEARN, "SVR", "C", "epsilon"),
        "sklearnex": _machine(INTELEX, "SVR", "C", "epsilon"),
        "libsvm": _libsvm(3, "-c", "-p"),
    },
    "nu_svr": {
        "jaxinfra": jaxinfra("nu_svr", RULE),
        "sklearn": _machine(SKLEARN, "NuSVR", "C", "nu"),
        "sklearnex": _machine(INTELEX, "NuSVR", "C", "nu"),
        "libsvm": _libsvm(4, "-c", "-n"),
    },
    "one_class": {
        "jaxinfra": jaxinfra("one_class", RULE),
        "sklearn": _machine(SKLEARN, "OneClassSVM", "nu"),
        "libsvm": _libsvm(2, "-n"),
    },
    "linear_svm": {
        "jaxinfra": jaxinfra("linear_svm", LINEAR),
        "sklearn": _linear("hinge", True, 1.0),
        "liblinear": _liblinear(),
    },
    "linear_svm_squared": {
        "jaxinfra": jaxinfra("linear_svm_squared"),
        "sklearn primal": _linear("squared_hinge", False, 100.0),
    },
}
