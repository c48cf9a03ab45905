"""Measures of similarity between two layers: each is one object, with its value, chance level and definition.

`compare`, `learning_dynamics`, `permutation_test`, `similarities` and the one-line calls below evaluate these objects
alike. `measure=` takes a name out of `MEASURES`, or a measure such as `PWCCA(side="x")`, or your own `Measure`.
"""

from svcca.measures.bartlett import BartlettTest, bartlett
from svcca.measures.cca import CCA, R2CCA, R2SVCCA, SVCCA, CCAResult, cca, r2_cca, svcca
from svcca.measures.cka import DebiasedCKA, LinearCKA, linear_cka
from svcca.measures.measure import Measure
from svcca.measures.permutation import PermutationTest, permutation_test
from svcca.measures.procrustes import Procrustes, procrustes, procrustes_angle, procrustes_distance
from svcca.measures.pwcca import PWCCA, pwcca
from svcca.measures.registry import MEASURES
from svcca.measures.regression import LinearRegression, linear_regression_r2
from svcca.measures.similarities import similarities
from svcca.measures.similarity import Similarity
from svcca.measures.spectra import PCAResult, PLSResult, pca, pls
from svcca.measures.summaries import ThresholdedCCA, TopCCA
from svcca.measures.weighted import WeightedSVCCA, svcca_weighted

__all__ = [
    "CCA",
    "MEASURES",
    "PWCCA",
    "R2CCA",
    "R2SVCCA",
    "SVCCA",
    "BartlettTest",
    "CCAResult",
    "DebiasedCKA",
    "LinearCKA",
    "LinearRegression",
    "Measure",
    "PCAResult",
    "PLSResult",
    "PermutationTest",
    "Procrustes",
    "Similarity",
    "ThresholdedCCA",
    "TopCCA",
    "WeightedSVCCA",
    "bartlett",
    "cca",
    "linear_cka",
    "linear_regression_r2",
    "pca",
    "permutation_test",
    "pls",
    "procrustes",
    "procrustes_angle",
    "procrustes_distance",
    "pwcca",
    "r2_cca",
    "similarities",
    "svcca",
    "svcca_weighted",
]
