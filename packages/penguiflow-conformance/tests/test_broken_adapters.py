"""Each contract finds what is broken: adapters that break a rule fail the test of that rule."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

BROKEN = Path(__file__).parent / "broken"

STORES = {
    "LosesOrder": "test_events_come_back_in_the_order_in_which_they_were_saved",
    "KeepsNothing": "test_what_was_saved_outlives_a_handle_that_nobody_closed",
    "KeepsTheCallersObject": "test_the_caller_may_change_what_it_saved_and_what_it_loaded",
    "WritesTwiceWhenCancelled": "test_a_cancelled_save_is_there_once_or_not_at_all",
    "DropsTheGroupWhenCancelled": "test_cancelling_one_writer_leaves_others_alone",
    "SplitsBatches": "test_a_batch_with_a_bad_event_leaves_nothing_behind",
    "RepeatsBindings": "test_a_binding_saved_again_changes_nothing",
    "ForgetsLeases": "test_a_held_unit_is_refused_and_its_holder_named",
    "HoldsForEver": "test_a_lapsed_lease_is_for_anyone",
    "IgnoresEpochs": "test_a_unit_taken_by_another_cannot_be_written_for",
    "CountsStepsTwice": "test_of_two_records_of_a_message_the_first_counts",
    "LetsTheLastStepWin": "test_of_many_that_record_a_step_one_writes_it",
    "FiresJoinsTwice": "test_of_many_parts_at_once_one_fires_the_join",
    "CountsPartsByArrival": "test_a_part_that_comes_twice_counts_once",
    "DuplicatesValues": "test_a_value_is_kept_once_and_in_order",
    "LetsTheLastOutcomeWin": "test_the_first_outcome_stands",
    "ReleasesForAnyone": "test_a_release_by_whoever_lost_the_lease_has_no_effect",
    "ForgetsNeighbours": "test_a_neighbour_is_told_whether_or_not_its_lease_lasts",
    "ReopensAgain": "test_a_reopened_message_is_outstanding_once",
    "SkipsEventsOfAPage": "test_events_are_followed_in_pages",
    "PrunesWhatRuns": "test_a_running_trace_is_never_forgotten",
}
BUSES = {
    "LosesOrder": "test_messages_of_a_trace_come_in_the_order_in_which_they_were_put",
    "ChangesMessages": "test_a_message_comes_as_json_holds_it",
    "DropsWhenCancelled": "test_a_cancelled_get_loses_nothing",
    "PutsInSpiteOfCancelling": "test_a_put_cancelled_while_it_waits_adds_nothing",
    "BlocksNever": "test_a_full_queue_makes_its_producers_wait",
    "HoldsTooFew": "test_a_full_queue_takes_as_much_as_it_says",
    "ForgetsLeases": "test_a_message_that_nobody_acknowledges_comes_again",
    "LeasesTooShort": "test_it_is_held_for_as_long_as_the_lease",
    "TrustsZombies": "test_a_lease_that_ended_cannot_acknowledge",
    "ForgetsAttempts": "test_a_message_given_back_comes_again",
    "ForgetsDelays": "test_a_message_given_back_with_a_delay_comes_later",
    "AcknowledgesWhatIsGivenBack": "test_a_message_given_back_comes_again",
    "WaitsForEver": "test_an_empty_queue_gives_none",
    "ExtendsNothing": "test_an_extended_lease_is_held_on",
    "BuriesNothing": "test_a_message_delivered_too_often_is_kept_apart",
    "ReplaysAndKeeps": "test_a_replayed_letter_is_as_new",
    "TurnsBatchesRound": "test_a_batch_keeps_its_order_beside_single_messages",
    "ForgetsEveryQueue": "test_other_queues_stay",
}
TRANSPORTS = {
    "LosesOrder": "test_chunks_come_in_order_and_the_result_last",
    "RepeatsChunks": "test_parts_come_while_the_agent_is_at_work",
    "GathersFirst": "test_parts_come_while_the_agent_is_at_work",
    "NamesNoTask": "test_a_stream_names_its_task_while_it_runs",
    "StripsText": "test_text_arrives_as_it_was_emitted",
    "CallsFailuresCompleted": "test_an_unsuccessful_task_says_how_it_ended",
    "MixesAnswersUp": "test_concurrent_calls_get_their_own_answers",
    "HidesADeadAgent": "test_an_agent_that_is_not_there_is_an_ordinary_error",
    "LeaksWhenCancelled": "test_cancelled_calls_release_their_connections",
    "LeaksWhenClosed": "test_streams_may_be_closed_before_their_end",
    "CancelsNothing": "test_a_cancelled_task_stops_at_the_agent",
    "CancelsEverything": "test_cancelling_one_task_leaves_others_alone",
    "KnowsNoEndedTask": "test_cancelling_what_has_ended_is_no_error",
    "ResumesFromTheBeginning": "test_a_task_is_taken_up_past_a_part",
}


CASES = [
    pytest.param(kind, adapter, test, id=f"{kind}-{adapter}")
    for kind, cases in (("stores", STORES), ("buses", BUSES), ("transports", TRANSPORTS))
    for adapter, test in cases.items()
]


@pytest.mark.parametrize(("kind", "adapter", "test"), CASES)
def test_a_broken_adapter_fails_the_test_of_its_rule(run: Run, kind: str, adapter: str, test: str) -> None:
    outcomes = run(f"{BROKEN / kind}.py::Test{adapter}::{test}")

    assert test in outcomes.failed, f"{adapter} passed {test}: {outcomes.passed}, {outcomes.skipped}"
    assert outcomes.failed[test].startswith("call: "), outcomes.failed[test]
