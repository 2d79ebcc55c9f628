"""What a table advises to do next."""

from tests.aggregate.test_aggregate_table import PLACEMENT, THREE, make, placements


def test_more_seeds_are_advised_with_the_command_that_adds_them(stand_in):
    table = make(stand_in, THREE, lambda chosen: 0)
    advice = [sentence for sentence in table.advice if "more seed" in sentence]
    assert len(advice) == 2
    command = [sentence for sentence in table.advice if "cbam-ablate" in sentence]
    if command:
        assert "sweep.extend=true" in command[0]
        assert "seed=0,1,2,3,4,5" in command[0]


def test_a_command_is_offered_for_what_train_made_alone(stand_in):
    ours = ["python", "train", "study=x", "hydra/launcher=fused", "hydra.launcher.width=4", "detach=true"]
    pulled = ["cbam-ablate", "wandb", "pull", "they/theirs"]
    offer = "To add 2 seeds: cbam-ablate train study=x seed=0,1,2 sweep.extend=true"
    for command, advice in ((ours, [offer]), (pulled, [])):
        assert make(stand_in, {PLACEMENT: ["none", "block"]}, placements, command=command).advice == advice
