"""Every measure that `reference.MEASURES` has an oracle for, by its label; those with parameters beside the defaults."""

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
