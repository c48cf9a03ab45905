"""Define a measure of your own, and use it wherever a measure is accepted."""

from math import pi

import numpy as np

import svcca


class MeanAngle(svcca.measures.Measure):
    """One less the mean principal angle between two layers, as a share of a right angle; in [0, 1]."""

    name = "mean_angle"
    definition = "one less the mean principal angle, as a share of a right angle"
    from_correlations = True

    def value(self, pair):
        """Return the similarity; the canonical correlations are the cosines of the principal angles."""
        return 1 - float(pair.correlations.arccos().mean()) / (pi / 2)


rng = np.random.default_rng(0)
first = rng.normal(size=(2000, 6))
second = np.tanh(first @ rng.normal(size=(6, 6))) + 0.3 * rng.normal(size=(2000, 6))

both = svcca.measures.similarities(first, second, ["cca", MeanAngle()])
test = svcca.measures.permutation_test(first, second, measure=MeanAngle(), n_permutations=99)
found = svcca.compare({"first": first, "second": second}, measure=[MeanAngle(), "linear_cka"])
page = found["mean_angle"].report("own_measure.html")

print(f"cca {both['cca'].similarity:.2f}, mean angle {both['mean_angle'].similarity:.2f}")
print(f"random pairings give {test.level:.2f} (p = {test.p_value:.2f})")
print(found)
assert np.isclose(found["mean_angle"].values[0, 1], both["mean_angle"].similarity)
assert np.isnan(both["mean_angle"].chance), "no level was given, so none is claimed"
assert test.level < test.observed
assert test.p_value == 0.01
assert MeanAngle.definition in page.read_text()
