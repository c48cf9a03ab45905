"""Every measure that `reference.MEASURES` has an oracle for, by its label, parameters too."""

import reference
from svcca.measures import MEASURES, PWCCA, WeightedSVCCA

WITH_PARAMETERS = (
    WeightedSVCCA(side="y"),
    WeightedSVCCA(side="mean"),
    PWCCA(side="x"),
    PWCCA(side="y"),
    PWCCA(side="mean"),
    PWCCA(squared=True),
)
EVERY = {
    measure.label: measure for measure in (*MEASURES.values(), *WITH_PARAMETERS) if measure.label in reference.MEASURES
}
