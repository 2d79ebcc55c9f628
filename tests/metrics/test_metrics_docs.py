from cbam_ablate.config.facts import METRICS
from cbam_ablate.metrics import DEFINITIONS


def test_every_metric_has_a_direction_and_every_direction_a_metric():
    assert set(METRICS) == set(DEFINITIONS)
