"""From a provider's word and counts to a state."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkstatus._model import Counts, State
from bulkstatus._states import Decision, Vocabulary, clean_counts, fold, settle

WORDS = {
    "SUBMITTED": State.QUEUED,
    "RUNNING": State.RUNNING,
    "PAUSED": State.PAUSED,
    "COMPLETED": State.SUCCEEDED,
    "PARTIALLY_COMPLETED": State.PARTIAL,
    "FAILED": State.FAILED,
    "CANCELLED": State.CANCELLED,
    "TIMED_OUT": State.EXPIRED,
}
BULK = Vocabulary("weavr bulk", WORDS)
ANY_TEXT = st.text(st.characters(exclude_categories=()))

maybe_count = st.none() | st.integers(0, 6)
some_counts = st.builds(Counts, **dict.fromkeys(Counts.__struct_fields__, maybe_count))
unreads = st.integers(0, 6)
wild_counts = st.builds(Counts, **dict.fromkeys(Counts.__struct_fields__, st.none() | st.integers()))


class TestFold:
    """One canonical case for words."""

    @pytest.mark.parametrize(
        ("word", "folded"),
        [
            ("RUNNING", "RUNNING"),
            ("running", "RUNNING"),
            ("Partially Completed", "PARTIALLY_COMPLETED"),
            ("in-progress", "IN_PROGRESS"),
            ("  done \n", "DONE"),
            ("", ""),
            ("k\u0131\u0307rma", "k\u0131\u0307rma"),
            ("\xdftate", "\xdftate"),
            ("\uff46ailed", "\uff46ailed"),
        ],
    )
    def test_case_blanks_and_hyphens_do_not_matter_in_ascii(self, word, folded):
        """ASCII words are compared without case; others are left alone, so that no locale can change them."""
        assert fold(word) == folded

    @given(ANY_TEXT)
    def test_folding_twice_changes_nothing(self, word):
        """Folding is idempotent."""
        assert fold(fold(word)) == fold(word)


class TestRead:
    """What a word alone says."""

    @pytest.mark.parametrize(("word", "state"), WORDS.items())
    def test_a_word_of_the_table_means_its_state(self, word, state):
        """The table decides, and one line of evidence repeats the word."""
        decision = BULK.read(word, {})
        assert decision.state is state
        assert decision.evidence == (f"weavr bulk word {word!r} means {state}.",)

    @pytest.mark.parametrize("word", ["running", "Running", " RUNNING ", "partially completed", "timed-out"])
    def test_another_spelling_is_read_and_said_to_be(self, word):
        """A word that differs in case, blanks or hyphens is understood; the evidence shows both spellings."""
        decision = BULK.read(word, {})
        assert decision.state is WORDS[fold(word)]
        assert len(decision.evidence) == 1
        assert repr(word) in decision.evidence[0]
        assert repr(fold(word)) in decision.evidence[0]

    def test_a_table_in_lower_case_is_found_by_any_case(self):
        """Folding works on both sides."""
        druid = Vocabulary("druid bulk", {"completed": State.SUCCEEDED})
        assert druid.read("COMPLETED", {}).state is State.SUCCEEDED
        assert druid.read("completed", {}).evidence == ("druid bulk word 'completed' means succeeded.",)

    @pytest.mark.parametrize(
        "word", ["ARCHIVING", "COMPLETED!", "FAILED2", "\u0130", "\ufb01nished", "\uff19"]
    )
    def test_an_unknown_word_is_unknown_and_kept(self, word):
        """A new word is not guessed at: not an end, the word in the evidence, and what to do about it."""
        decision = BULK.read(word, {})
        assert decision.state is State.UNKNOWN
        assert not decision.state.is_terminal
        assert repr(word) in decision.evidence[0]
        assert "state_map" in decision.evidence[0]

    @pytest.mark.parametrize("word", [None, ""])
    def test_no_word_is_unknown(self, word):
        """Where the provider says nothing, nothing is assumed, whatever is pinned."""
        for pins in ({}, {"": State.SUCCEEDED}):
            assert BULK.read(word, pins) == Decision(State.UNKNOWN, ("The provider sent no status word.",))

    def test_a_very_long_word_is_unknown_and_not_repeated(self):
        """A megabyte in the place of a word neither matches nor fills the evidence."""
        decision = BULK.read("A" * 1_000_000, {})
        assert decision.state is State.UNKNOWN
        assert len(decision.evidence[0]) < 200
        assert BULK.read(" " * 1_000 + "RUNNING", {}).state is State.UNKNOWN

    @given(ANY_TEXT.filter(lambda word: fold(word) not in WORDS))
    def test_only_the_table_gives_a_known_state(self, word):
        """Any text that is no word of the table is unknown, and its evidence can be printed."""
        decision = BULK.read(word, {})
        assert decision.state is State.UNKNOWN
        assert decision.evidence
        assert all(line.isprintable() for line in decision.evidence)

    def test_reading_is_repeatable(self):
        """The same word gives the same decision, however many words were read between."""
        first = BULK.read("odd", {})
        for number in range(1_000):
            BULK.read(f"word{number}", {})
        assert BULK.read("odd", {}) == first

    def test_the_table_given_is_not_shared(self):
        """Changing the mapping afterwards changes nothing."""
        table = {"A": State.QUEUED}
        vocabulary = Vocabulary("x", table)
        table["A"] = State.FAILED
        assert vocabulary.read("A", {}).state is State.QUEUED


class TestPins:
    """Words that the user's configuration reads."""

    @pytest.mark.parametrize("word", ["ARCHIVING", "archiving", " Archiving "])
    @pytest.mark.parametrize("pin", ["archiving", "ARCHIVING"])
    def test_a_pinned_word_means_what_the_user_says(self, word, pin):
        """A pin is found in any case, and the evidence says that the configuration decided."""
        decision = BULK.read(word, {pin: State.RUNNING})
        assert decision.state is State.RUNNING
        assert "state_map" in decision.evidence[0]
        assert repr(word) in decision.evidence[0]

    def test_a_pin_goes_before_the_table(self):
        """The user's reading of a known word counts."""
        assert BULK.read("COMPLETED", {"COMPLETED": State.RUNNING}).state is State.RUNNING

    def test_the_exact_spelling_goes_before_another(self):
        """Two pins that differ in case are told apart where the word is spelt like one of them."""
        pins = {"done": State.SUCCEEDED, "DONE": State.FAILED}
        assert BULK.read("done", pins).state is State.SUCCEEDED
        assert BULK.read("DONE", pins).state is State.FAILED

    def test_other_words_are_read_as_ever(self):
        """A pin touches its own word only."""
        pins = {"ARCHIVING": State.RUNNING}
        assert BULK.read("COMPLETED", pins) == BULK.read("COMPLETED", {})
        assert BULK.read("ODD", pins).state is State.UNKNOWN

    def test_a_word_can_be_pinned_to_unknown(self):
        """A user may distrust a word."""
        assert BULK.read("COMPLETED", {"COMPLETED": State.UNKNOWN}).state is State.UNKNOWN


class TestWords:
    """The provider's words for states."""

    def test_words_come_in_the_order_of_the_table(self):
        """All words of the states asked for, states as words or members."""
        assert BULK.words({State.FAILED, State.QUEUED}, {}) == ("SUBMITTED", "FAILED")
        assert BULK.words(frozenset({"running", "paused"}), {}) == ("RUNNING", "PAUSED")
        two = Vocabulary(
            "druid", {"received": State.QUEUED, "scheduled": State.QUEUED, "failed": State.FAILED}
        )
        assert two.words({State.QUEUED}, {}) == ("received", "scheduled")

    def test_a_state_without_a_word_gives_none(self):
        """Words that do not exist cannot be asked for: nothing is, which differs from not knowing."""
        assert Vocabulary("x", {"A": State.QUEUED}).words({State.EXPIRED}, {}) == ()
        assert BULK.words(set(), {}) == ()

    def test_what_words_cannot_express_is_none(self):
        """Unknown words cannot be listed, and pins move words between states."""
        assert BULK.words({State.UNKNOWN}, {}) is None
        assert BULK.words({"unknown", "failed"}, {}) is None
        assert BULK.words({State.FAILED}, {"ODD": State.FAILED}) is None


SETTLED = [
    # finished well
    (State.SUCCEEDED, {}, State.SUCCEEDED),
    (State.SUCCEEDED, {"total": 5}, State.SUCCEEDED),
    (State.SUCCEEDED, {"total": 5, "succeeded": 5}, State.SUCCEEDED),
    (State.SUCCEEDED, {"total": 5, "succeeded": 5, "failed": 0, "cancelled": 0}, State.SUCCEEDED),
    (State.SUCCEEDED, {"failed": 0}, State.SUCCEEDED),
    (State.SUCCEEDED, {"total": 0}, State.SUCCEEDED),
    # some failed
    (State.SUCCEEDED, {"succeeded": 4, "failed": 1}, State.PARTIAL),
    (State.SUCCEEDED, {"total": 5, "succeeded": 4, "failed": 1}, State.PARTIAL),
    (State.SUCCEEDED, {"total": 5, "succeeded": 3, "cancelled": 2}, State.PARTIAL),
    (State.SUCCEEDED, {"failed": 1}, State.PARTIAL),
    (State.SUCCEEDED, {"total": 5, "failed": 1}, State.PARTIAL),
    # only failures
    (State.SUCCEEDED, {"succeeded": 0, "failed": 5}, State.FAILED),
    (State.SUCCEEDED, {"total": 5, "succeeded": 0, "failed": 5}, State.FAILED),
    (State.SUCCEEDED, {"total": 5, "failed": 5}, State.FAILED),
    (State.SUCCEEDED, {"total": 2, "succeeded": 0, "failed": 1, "cancelled": 1}, State.FAILED),
    (State.SUCCEEDED, {"total": 2, "succeeded": 0, "cancelled": 2}, State.CANCELLED),
    # the provider's own "partial"
    (State.PARTIAL, {}, State.PARTIAL),
    (State.PARTIAL, {"succeeded": 1, "failed": 1}, State.PARTIAL),
    (State.PARTIAL, {"failed": 1}, State.PARTIAL),
    (State.PARTIAL, {"total": 5, "succeeded": 5}, State.PARTIAL),
    (State.PARTIAL, {"total": 5, "succeeded": 0, "failed": 5}, State.FAILED),
    # failed
    (State.FAILED, {}, State.FAILED),
    (State.FAILED, {"succeeded": 0, "failed": 5}, State.FAILED),
    (State.FAILED, {"failed": 5}, State.FAILED),
    (State.FAILED, {"succeeded": 1}, State.PARTIAL),
    (State.FAILED, {"total": 5, "succeeded": 1, "failed": 4}, State.PARTIAL),
    # these stay what they are
    (State.CANCELLED, {"succeeded": 5, "failed": 5}, State.CANCELLED),
    (State.EXPIRED, {"succeeded": 5, "failed": 5}, State.EXPIRED),
    (State.RUNNING, {"total": 5, "succeeded": 5}, State.RUNNING),
    (State.RUNNING, {"total": 5, "failed": 5}, State.RUNNING),
    (State.QUEUED, {"total": 5, "failed": 5}, State.QUEUED),
    (State.PAUSED, {"succeeded": 1, "failed": 1}, State.PAUSED),
    (State.UNKNOWN, {"total": 5, "succeeded": 5}, State.UNKNOWN),
    # finished well, and none did
    (State.SUCCEEDED, {"total": 5, "succeeded": 0}, State.UNKNOWN),
    (State.SUCCEEDED, {"total": 5, "succeeded": 0, "failed": 0, "cancelled": 0}, State.UNKNOWN),
    (State.SUCCEEDED, {"total": 5, "succeeded": 0, "queued": 5}, State.UNKNOWN),
    (State.SUCCEEDED, {"total": 0, "succeeded": 0}, State.SUCCEEDED),
    (State.SUCCEEDED, {"succeeded": 0}, State.UNKNOWN),
    # finished well, and some were not carried out
    (State.SUCCEEDED, {"total": 5, "queued": 5}, State.UNKNOWN),
    (State.SUCCEEDED, {"total": 5, "running": 5}, State.UNKNOWN),
    (State.SUCCEEDED, {"total": 5, "succeeded": 3, "queued": 2}, State.UNKNOWN),
    (State.SUCCEEDED, {"succeeded": 3, "running": 1}, State.UNKNOWN),
    # finished well, and counted, but not all: what became of the others nobody says
    (State.SUCCEEDED, {"total": 5, "succeeded": 3}, State.UNKNOWN),
    (State.SUCCEEDED, {"total": 5, "succeeded": 4, "failed": 0, "queued": 0}, State.UNKNOWN),
    (State.SUCCEEDED, {"total": 5, "succeeded": 6}, State.SUCCEEDED),
    (State.SUCCEEDED, {"total": 5}, State.SUCCEEDED),
    # failures, while others may still succeed, or may have
    (State.SUCCEEDED, {"total": 5, "succeeded": 0, "failed": 3}, State.PARTIAL),
    (State.SUCCEEDED, {"total": 5, "succeeded": 0, "failed": 3, "queued": 2}, State.PARTIAL),
    (State.SUCCEEDED, {"total": 5, "succeeded": 0, "failed": 3, "running": 2}, State.PARTIAL),
    (State.SUCCEEDED, {"total": 5, "failed": 3, "queued": 2}, State.PARTIAL),
    (State.PARTIAL, {"total": 5, "failed": 3, "running": 2}, State.PARTIAL),
    (State.PARTIAL, {"total": 5, "succeeded": 0}, State.PARTIAL),
    # failed, while others still run
    (State.FAILED, {"running": 1}, State.UNKNOWN),
    (State.FAILED, {"total": 5, "failed": 4, "running": 1}, State.UNKNOWN),
    (State.FAILED, {"total": 5, "succeeded": 1, "running": 4}, State.PARTIAL),
    (State.FAILED, {"total": 5, "queued": 5}, State.FAILED),
    (State.FAILED, {"total": 5, "failed": 2}, State.FAILED),
]

UNREAD = [
    (State.SUCCEEDED, {}, State.UNKNOWN),
    (State.SUCCEEDED, {"total": 5, "succeeded": 4}, State.UNKNOWN),
    (State.SUCCEEDED, {"total": 5, "succeeded": 5}, State.UNKNOWN),
    (State.SUCCEEDED, {"total": 5, "succeeded": 3, "failed": 1}, State.PARTIAL),
    (State.SUCCEEDED, {"total": 5, "succeeded": 0, "failed": 5}, State.PARTIAL),
    (State.SUCCEEDED, {"total": 5, "succeeded": 0, "cancelled": 5}, State.PARTIAL),
    (State.PARTIAL, {}, State.PARTIAL),
    (State.PARTIAL, {"total": 5, "failed": 5}, State.PARTIAL),
    (State.FAILED, {}, State.UNKNOWN),
    (State.FAILED, {"total": 5, "failed": 4}, State.UNKNOWN),
    (State.FAILED, {"total": 5, "succeeded": 1}, State.PARTIAL),
    (State.CANCELLED, {"total": 5}, State.CANCELLED),
    (State.EXPIRED, {"total": 5}, State.EXPIRED),
    (State.RUNNING, {"total": 5, "succeeded": 5}, State.RUNNING),
    (State.QUEUED, {}, State.QUEUED),
    (State.PAUSED, {"failed": 1}, State.PAUSED),
    (State.UNKNOWN, {"total": 5, "failed": 5}, State.UNKNOWN),
]

LEFT_OVER = [
    (State.PARTIAL, {"total": 5, "succeeded": 3, "queued": 1, "running": 1}, "2 operations that have not"),
    (State.SUCCEEDED, {"total": 5, "succeeded": 3, "failed": 1, "running": 1}, "1 operations that have not"),
    (State.SUCCEEDED, {"total": 5, "succeeded": 3, "failed": 1}, "1 of 5 operations are not accounted for"),
    (State.PARTIAL, {"total": 5, "succeeded": 3, "failed": 1}, "1 of 5 operations are not accounted for"),
    (State.PARTIAL, {"total": 5, "succeeded": 3, "queued": 2}, "2 operations that have not ended"),
    (State.FAILED, {"total": 5, "queued": 5}, "5 operations that have not ended"),
    (State.FAILED, {"total": 5, "failed": 2}, "3 of 5 operations are not accounted for"),
    (State.FAILED, {"total": 5, "succeeded": 2, "running": 3}, "3 operations that have not ended"),
    (State.CANCELLED, {"total": 5, "succeeded": 2, "running": 3}, "3 operations that have not ended"),
    (State.CANCELLED, {"total": 5, "cancelled": 1}, "4 of 5 operations are not accounted for"),
    (State.EXPIRED, {"queued": 1}, "1 operations that have not ended"),
    (State.EXPIRED, {"total": 0}, "0 operations"),
]


class TestSettle:
    """A finished state, corrected by the counts."""

    @pytest.mark.parametrize(("state", "said", "settled"), SETTLED)
    def test_the_counts_correct_a_finished_state(self, state, said, settled):
        """The rule, row by row; every correction is explained."""
        found, why = settle(state, Counts(**said))
        assert found is settled
        if settled is State.UNKNOWN and state is not State.UNKNOWN:
            assert "not proven" in why[0] or "not certain" in why[0]
        elif found is not state:
            assert str(settled) in why[0]

    @pytest.mark.parametrize(("state", "said", "settled"), UNREAD)
    def test_operations_that_could_not_be_read_leave_open_what_a_word_claims(self, state, said, settled):
        """With one such operation neither "all went well" nor "none did" is said; other words stay."""
        found, why = settle(state, Counts(**said), unread=1)
        assert found is settled
        if settled is State.UNKNOWN and state is not State.UNKNOWN:
            assert "could not be read" in why[0]

    @pytest.mark.parametrize(("state", "said", "line"), LEFT_OVER)
    def test_what_an_end_leaves_open_is_said(self, state, said, line):
        """Operations that have not ended, or that no count speaks of, are named for every end."""
        found, why = settle(state, Counts(**said))
        assert found.is_terminal
        assert line in why[-1]

    def test_a_partial_word_without_a_failure_is_kept_and_said(self):
        """The provider knows what made it partial; the counts do not show it."""
        found, why = settle(State.PARTIAL, Counts(total=5, succeeded=5))
        assert found is State.PARTIAL
        assert "no operation that failed" in why[0]
        assert len(why) == 1

    def test_no_operations_at_all_is_success_and_said(self):
        """A bulk of nothing that finished well, finished well."""
        found, why = settle(State.SUCCEEDED, Counts(total=0))
        assert found is State.SUCCEEDED
        assert "0 operations" in why[0]

    @given(st.sampled_from(State), wild_counts, unreads)
    def test_no_end_is_invented(self, state, counts, unread):
        """A state that is no end stays itself, and an end stays an end or becomes unknown, whatever the counts."""
        found, _ = settle(state, counts, unread=unread)
        if state.is_terminal:
            assert found.is_terminal or found is State.UNKNOWN
        else:
            assert found is state

    @given(st.sampled_from((State.CANCELLED, State.EXPIRED)), wild_counts, unreads)
    def test_cancelled_and_expired_stay(self, state, counts, unread):
        """Counts do not change these two."""
        assert settle(state, counts, unread=unread)[0] is state

    @given(st.sampled_from(State), some_counts, unreads)
    def test_the_same_question_has_the_same_answer(self, state, counts, unread):
        """Settling is deterministic, and settling what is settled changes nothing."""
        once = settle(state, counts, unread=unread)
        assert settle(state, counts, unread=unread) == once
        assert settle(once[0], counts, unread=unread)[0] is once[0]

    @given(st.sampled_from(State), some_counts, unreads)
    def test_every_correction_is_explained(self, state, counts, unread):
        """A state other than the word's own comes with evidence."""
        found, why = settle(state, counts, unread=unread)
        assert found is state or why

    @given(some_counts.filter(lambda counts: counts.failed), unreads)
    def test_success_never_hides_a_failure(self, counts, unread):
        """With one failed operation, a bulk that finished well is not reported as succeeded."""
        assert settle(State.SUCCEEDED, counts, unread=unread)[0] in (State.PARTIAL, State.FAILED)

    @given(some_counts.filter(lambda counts: counts.succeeded), st.sampled_from(State), unreads)
    def test_failure_never_hides_a_success(self, counts, state, unread):
        """With one operation that succeeded, nothing is reported as failed."""
        assert settle(state, counts, unread=unread)[0] is not State.FAILED

    @given(some_counts, st.sampled_from(State), st.integers(1, 6))
    def test_what_was_not_read_is_no_proof(self, counts, state, unread):
        """With one operation that could not be read, nothing is reported as succeeded or as failed."""
        assert settle(state, counts, unread=unread)[0] not in (State.SUCCEEDED, State.FAILED)

    @given(some_counts.filter(lambda counts: counts.running), st.sampled_from(State))
    def test_failure_is_not_said_while_operations_run(self, counts, state):
        """With one operation that still runs, nothing is reported as failed."""
        assert settle(state, counts)[0] is not State.FAILED


class TestDecide:
    """Word and counts together."""

    def test_without_counts_the_word_decides(self):
        """No counts, no correction."""
        assert BULK.decide("COMPLETED", None, {}) == BULK.read("COMPLETED", {})

    def test_what_was_not_read_counts_without_counts_too(self):
        """Operations in words that nobody knows make a word doubtful even where nothing else was counted."""
        decision = BULK.decide("COMPLETED", None, {}, unread=2)
        assert decision.state is State.UNKNOWN
        assert "2 operations" in decision.evidence[-1]
        assert BULK.decide("COMPLETED", None, {}, unread=0) == BULK.read("COMPLETED", {})
        assert BULK.decide("RUNNING", None, {}, unread=2) == BULK.read("RUNNING", {})

    def test_counts_that_change_nothing_add_nothing(self):
        """Fitting counts leave the word's own evidence alone."""
        assert BULK.decide("COMPLETED", Counts(total=1, succeeded=1), {}) == BULK.read("COMPLETED", {})

    def test_the_evidence_is_the_word_and_then_the_counts(self):
        """Both steps are said, in the order in which they were taken."""
        decision = BULK.decide("COMPLETED", Counts(total=5, succeeded=4, failed=1), {})
        assert decision.state is State.PARTIAL
        assert len(decision.evidence) == 2
        assert "'COMPLETED'" in decision.evidence[0]
        assert "partial" in decision.evidence[1]

    def test_a_pinned_word_is_corrected_too(self):
        """A pin says what a word means, not how the operations went."""
        decision = BULK.decide("DONE", Counts(succeeded=1, failed=1), {"DONE": State.SUCCEEDED})
        assert decision.state is State.PARTIAL
        assert "state_map" in decision.evidence[0]
        doubted = BULK.decide("DONE", Counts(succeeded=1), {"DONE": State.SUCCEEDED}, unread=1)
        assert doubted.state is State.UNKNOWN

    def test_counts_do_not_explain_an_unknown_word(self):
        """An unknown word stays unknown, with all operations done as well."""
        assert BULK.decide("ARCHIVING", Counts(total=5, succeeded=5), {}).state is State.UNKNOWN


class TestCleanCounts:
    """Counts that cannot be, or do not add up."""

    @pytest.mark.parametrize(
        "said", [{}, {"total": 0}, {"total": 5, "succeeded": 2, "failed": 3}, {"succeeded": 7}]
    )
    def test_counts_that_can_be_are_returned_as_they_are(self, said):
        """Nothing to say, nothing changed: None stays None and 0 stays 0."""
        counts = Counts(**said)
        assert clean_counts(counts) == (counts, ())

    @pytest.mark.parametrize("name", Counts.__struct_fields__)
    def test_a_negative_count_is_not_said(self, name):
        """It becomes None, never 0, and the evidence names it."""
        cleaned, evidence = clean_counts(Counts(**{name: -1}))
        assert cleaned == Counts()
        assert len(evidence) == 1
        assert name in evidence[0]
        assert "-1" in evidence[0]

    @pytest.mark.parametrize("value", [-(2**63), 2**53, 2**63, 10**30, 10**4_299], ids=int.bit_length)
    @pytest.mark.parametrize("name", Counts.__struct_fields__)
    def test_a_count_that_cannot_be_told_exactly_is_not_said(self, name, value):
        """It becomes None; the evidence names it, and is short."""
        cleaned, (why,) = clean_counts(Counts(**{name: value}))
        assert cleaned == Counts()
        assert name in why
        assert len(why) < 100

    @pytest.mark.parametrize("word", ["COMPLETED", "PARTIALLY_COMPLETED", "FAILED"])
    @pytest.mark.parametrize("name", ["queued", "running", "succeeded", "failed", "cancelled"])
    @pytest.mark.parametrize("value", [-1, 2**63])
    def test_an_end_beside_a_count_that_cannot_be_is_not_proven(self, word, name, value):
        """What could not be read may be a failure, or a success: neither is concluded."""
        said = BULK.decide(word, Counts(**{name: value}), {})
        assert said.state is (State.PARTIAL if word == "PARTIALLY_COMPLETED" else State.UNKNOWN)
        assert BULK.decide("RUNNING", Counts(**{name: value}), {}).state is State.RUNNING

    @pytest.mark.parametrize("value", [-1, 2**63])
    def test_a_total_that_cannot_be_proves_nothing_either_way(self, value):
        """The word stands, as it does where no total was said."""
        assert BULK.decide("COMPLETED", Counts(total=value, succeeded=2), {}).state is State.SUCCEEDED
        assert BULK.decide("COMPLETED", Counts(total=value), {}).state is State.SUCCEEDED

    @pytest.mark.parametrize("value", [10**9 + 1, 2**53 - 1])
    def test_an_implausibly_high_count_is_kept_and_said(self, value):
        """A very high number may be right, but deserves a look."""
        cleaned, evidence = clean_counts(Counts(total=value))
        assert cleaned.total == value
        assert len(evidence) == 1
        assert "total" in evidence[0]

    def test_a_thousand_million_is_plausible(self):
        """The bound itself is not remarked on."""
        assert clean_counts(Counts(total=10**9))[1] == ()

    def test_more_than_the_total_is_said(self):
        """Counts that exceed their total are kept, with evidence."""
        counts = Counts(total=3, succeeded=2, failed=2)
        cleaned, evidence = clean_counts(counts)
        assert cleaned == counts
        assert "4" in evidence[0]
        assert "3" in evidence[0]

    def test_less_than_the_total_is_fine(self):
        """Operations nobody counted are no contradiction."""
        assert clean_counts(Counts(total=10, succeeded=2))[1] == ()

    @given(wild_counts)
    def test_what_is_left_can_be(self, counts):
        """No number that cannot be is left, whatever was said stays or becomes None; cleaning twice changes nothing."""
        cleaned, evidence = clean_counts(counts)
        for name in Counts.__struct_fields__:
            before, after = getattr(counts, name), getattr(cleaned, name)
            assert after == (before if before is not None and 0 <= before < 2**53 else None)
        assert clean_counts(cleaned)[0] == cleaned
        assert cleaned == counts or evidence


COUNTED = Vocabulary(
    "batch", {"over": State.SUCCEEDED, "bad": State.FAILED, "going": State.RUNNING}, counted=True
)


class TestCounted:
    """Words by which a bulk is only over."""

    @pytest.mark.parametrize(
        "counts", [None, Counts(), Counts(total=3), Counts(succeeded=3), Counts(failed=0), Counts(queued=0)]
    )
    def test_success_that_no_counts_show_is_not_proven(self, counts):
        """Neither without counts, nor with such as do not say how all of it went."""
        found = COUNTED.decide("over", counts, {})
        assert found.state is State.UNKNOWN
        assert "success is not proven" in found.evidence[-1]

    @pytest.mark.parametrize("counts", [Counts(total=3, succeeded=3), Counts(succeeded=3, failed=0)])
    def test_counts_show_it(self, counts):
        """A total, or a count of failures, beside that of successes."""
        assert COUNTED.decide("over", counts, {}).state is State.SUCCEEDED

    def test_a_pinned_word_is_taken_as_the_user_has_it(self):
        """In any spelling; another pin changes nothing."""
        assert COUNTED.decide("over", None, {"OVER": State.SUCCEEDED}).state is State.SUCCEEDED
        assert COUNTED.decide("over", None, {"bad": State.SUCCEEDED}).state is State.UNKNOWN

    def test_other_words_need_no_counts(self):
        """Only success has to be shown."""
        assert COUNTED.decide("bad", None, {}).state is State.FAILED
        assert COUNTED.decide("going", None, {}).state is State.RUNNING
        assert COUNTED.decide(None, None, {}).state is State.UNKNOWN


class TestShownOtherwise:
    """Operations that a member shows without counting them, such as a file of their results."""

    @pytest.mark.parametrize("vocabulary", [BULK, COUNTED])
    def test_failures_leave_no_success(self, vocabulary):
        """Partial, and said by which member; where failures were counted, the count stands."""
        word = "COMPLETED" if vocabulary is BULK else "over"
        found = vocabulary.decide(word, None, {}, some_failed="error_file")
        assert found.state is State.PARTIAL
        assert found.evidence[-1] == "error_file shows that some failed, uncounted: partial."
        counts = Counts(total=2, succeeded=2, failed=0)
        assert vocabulary.decide(word, counts, {}, some_failed="error_file").state is State.SUCCEEDED

    def test_successes_leave_no_failure(self):
        """Who re-runs all of a bulk that failed would pay twice for those."""
        found = BULK.decide("FAILED", None, {}, some_succeeded="output_file")
        assert found.state is State.PARTIAL
        assert found.evidence[-1] == "output_file shows that some succeeded, uncounted: partial."
        counts = Counts(succeeded=0, failed=2)
        assert BULK.decide("FAILED", counts, {}, some_succeeded="output_file").state is State.FAILED
