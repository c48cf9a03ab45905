"""Every measure by its label, with the parameters that change the definition, in the order of `reference.MEASURES`."""

from svcca.measures import MEASURES, PWCCA, WeightedSVCCA

WITH_PARAMETERS = (
    WeightedSVCCA(side="y"),
    WeightedSVCCA(side="mean"),
    PWCCA(side="x"),
    PWCCA(side="y"),
    PWCCA(side="mean"),
    PWCCA(squared=True),
)
EVERY = {measure.label: measure for measure in (*MEASURES.values(), *WITH_PARAMETERS)}
