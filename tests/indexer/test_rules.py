"""Watch rules: every item that enters is judged, and what was found is stored with it or keeps it out."""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from indexer.collection import Collection
from indexer.collections import Collections
from indexer.errors import (
    CollectionNotFound,
    CursorInvalid,
    ItemNotFound,
    ItemRejected,
    QueryInvalid,
    RuleInvalid,
    RuleNotFound,
    VectorInvalid,
)
from indexer.generation import Generation
from indexer.rules import rules as rules_module
from indexer.rules.judgement import Criterion, Judge, Judgement
from indexer.rules.rules import PutRule, Rules
from indexer.types import (
    MODALITIES,
    CollectionSettings,
    Failed,
    Flag,
    Modality,
    NewItem,
    NewRule,
    SearchRequest,
    Term,
    Upserted,
)
from models.errors import ImageUndecodable
from tests.fakes import FakeEncoder
from tests.pictures import picture

Open = Callable[[], Collections]
BOTH: Mapping[Modality, float] = {"image": 0.8, "text": 0.8}


def watch(collection: Collection, name: str = "red", **changes: Any) -> PutRule:
    content: dict[str, Any] = {"terms": (Term(text="red"),), "thresholds": BOTH, "action": "flag"}
    return collection.rules.put(NewRule(name, **content | changes))


def put(collection: Collection, id_: str = "a", **content: Any) -> Upserted | Failed:
    [result] = collection.upsert([NewItem(id_, **content)])
    return result


def told(result: Upserted | Failed) -> list[str]:
    assert isinstance(result, Upserted), result
    return [flag.rule for flag in result.flags]


def flagged(collection: Collection) -> list[tuple[str, str, str]]:
    return [(flag.item, flag.rule, flag.action) for flag in collection.rules.flags(100)[0]]


# Rules


def test_a_rule_is_created_unchanged_updated_and_deleted(collection: Collection) -> None:
    first, again = watch(collection), watch(collection)
    changed = watch(collection, action="reject")

    assert [made.created for made in (first, again, changed)] == [True, False, False]
    assert first.rule == again.rule
    assert changed.rule.created_at == first.rule.created_at
    assert collection.rules.all() == [collection.rules.get("red")] == [changed.rule]
    collection.rules.delete("red")
    assert collection.rules.all() == []
    for call in (collection.rules.get, collection.rules.delete):
        with pytest.raises(RuleNotFound):
            call("red")


def test_a_rule_keeps_what_it_was_made_of(open_folder: Open) -> None:
    collection = open_folder().get("default")
    put(collection, "seen", text="red")
    terms = (
        Term(text="red"),
        Term(0.5, image=picture("red")),
        Term(-0.5, item="seen"),
        Term(vector=[1.0] * 16),
    )
    watch(collection, terms=terms, thresholds={"text": 0.9})

    rule = open_folder().get("default").rules.get("red")

    assert (rule.terms, rule.thresholds) == (terms, {"text": 0.9})


@pytest.mark.parametrize(
    ("changes", "error", "pointer"),
    [
        ({"name": ""}, RuleInvalid, None),
        ({"name": "a b"}, RuleInvalid, None),
        ({"name": "x" * 101}, RuleInvalid, None),
        ({"thresholds": {}}, RuleInvalid, "/threshold"),
        ({"terms": ()}, QueryInvalid, "/query"),
        ({"terms": (Term(text=" "),)}, QueryInvalid, "/query/text"),
        ({"terms": (Term(item="nobody"),)}, ItemNotFound, "/query/item"),
        ({"terms": (Term(vector=[1.0]),)}, VectorInvalid, "/query/vector"),
        ({"terms": (Term(image=b"x"),)}, ImageUndecodable, None),
        ({"terms": (Term(text="red"), Term(-1, text="red"))}, RuleInvalid, "/query"),
        ({"webhook": "ftp://shop.example/"}, RuleInvalid, "/webhook"),
        ({"webhook": "shop.example"}, RuleInvalid, "/webhook"),
        ({"webhook": "http://"}, RuleInvalid, "/webhook"),
        ({"webhook": "http://a b/"}, RuleInvalid, "/webhook"),
        ({"webhook": "http://a:99999/"}, RuleInvalid, "/webhook"),
        ({"webhook": "http://a\n/"}, RuleInvalid, "/webhook"),
        ({"webhook": "http://me:secret@shop.example/"}, RuleInvalid, "/webhook"),
    ],
)
def test_a_rule_that_cannot_be_applied_is_refused(
    collection: Collection, changes: dict[str, Any], error: type[Exception], pointer: str | None
) -> None:
    with pytest.raises(error) as caught:
        watch(collection, **changes)
    assert getattr(caught.value, "pointer", None) == pointer
    assert collection.rules.all() == []


def test_rules_are_bounded_in_number_and_size(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules_module, "MAX_RULES", 2)
    monkeypatch.setattr(rules_module, "MAX_QUERY_BYTES", 1000)
    watch(collection, "a")
    watch(collection, "b", terms=(Term(text="red " * 100),))
    with pytest.raises(RuleInvalid, match="at most 2"):
        watch(collection, "c")
    with pytest.raises(RuleInvalid, match="bytes"):
        watch(collection, "a", terms=(Term(text="red " * 200),))
    watch(collection, "b", terms=(Term(text="red " * 200),))


def test_a_rule_of_a_deleted_collection_is_not_stored(open_folder: Open) -> None:
    collections = open_folder()
    collections.put("shop", CollectionSettings())
    shop = collections.get("shop")
    watch(shop)
    collections.delete("shop")
    with pytest.raises(CollectionNotFound):
        watch(shop)


# Judging


def test_an_item_is_flagged_by_what_it_shows_and_by_what_it_says(collection: Collection) -> None:
    watch(collection)

    assert told(put(collection, "picture", image=picture("red"))) == ["red"]
    assert told(put(collection, "text", text="a red thing")) == ["red"]
    assert told(put(collection, "other", text="a blue thing", image=picture("green"))) == []
    assert flagged(collection) == [("text", "red", "flag"), ("picture", "red", "flag")]
    modalities = [flag.modality for flag in collection.rules.flags(10)[0]]
    assert modalities == ["text", "image"]


def test_a_threshold_holds_for_its_modality_only(collection: Collection) -> None:
    watch(collection, thresholds={"image": 0.8})

    assert told(put(collection, text="red")) == []
    assert told(put(collection, text="red", image=picture("red"))) == ["red"]


def test_the_score_is_that_of_a_search_by_the_same_query(collection: Collection) -> None:
    terms = (Term(text="red"), Term(0.4, image=picture("yellow")), Term(-0.3, text="blue"))
    watch(collection, terms=terms, thresholds={"image": -1.0})
    put(collection, image=picture((200, 40, 30)), text="a dress")

    [flag] = collection.rules.flags(10)[0]

    [hit] = collection.search(SearchRequest(terms, target={"image": 1.0})).hits
    assert flag.score == pytest.approx(hit.scores["image"], abs=1e-6)


def test_an_item_of_a_rule_is_compared_like_with_like(collection: Collection) -> None:
    put(collection, "seen", image=picture("red"), text="blue")
    watch(collection, terms=(Term(item="seen"),), thresholds={"image": 0.95, "text": 0.95})

    assert told(put(collection, "a", image=picture("red"))) == ["red"]
    assert told(put(collection, "b", text="blue")) == ["red"]
    assert told(put(collection, "c", image=picture("blue"), text="red")) == []


def test_an_item_of_a_rule_may_go(open_folder: Open) -> None:
    collection = open_folder().get("default")
    put(collection, "seen", image=picture("red"))
    watch(collection, terms=(Term(item="seen"),))
    collection.delete(["seen"])

    assert told(put(open_folder().get("default"), "a", image=picture("red"))) == ["red"]


def test_a_rule_judges_what_enters_after_it(collection: Collection) -> None:
    put(collection, "before", text="red")
    watch(collection)

    assert told(put(collection, "before", text="red")) == []
    assert told(put(collection, "after", text="red")) == ["red"]
    assert told(put(collection, "before", text="red", metadata={"price": 1})) == ["red"]


def test_a_vector_that_stays_is_judged_with_those_that_are_new(collection: Collection) -> None:
    put(collection, image=picture("red"), text="a dress")
    watch(collection)

    result = put(collection, image=picture("red"), text="a blue dress")

    assert isinstance(result, Upserted)
    assert [(flag.rule, flag.modality) for flag in result.flags] == [("red", "image")]


def test_a_vector_that_goes_is_judged_no_more(collection: Collection) -> None:
    watch(collection)
    assert told(put(collection, image=picture("red"), text="a dress")) == ["red"]

    assert told(put(collection, text="a dress")) == []
    assert flagged(collection) == []


def test_ready_vectors_are_judged(collection: Collection, encoder: FakeEncoder) -> None:
    watch(collection)
    [red] = encoder.encode_texts(["red"]).vectors.tolist()

    assert told(put(collection, vectors={"image": red}, fingerprint=encoder.fingerprint)) == ["red"]


def test_flags_are_replaced_with_the_item_and_go_with_it(collection: Collection) -> None:
    watch(collection)
    watch(collection, "blue", terms=(Term(text="blue"),))

    assert told(put(collection, text="red")) == ["red"]
    assert told(put(collection, text="red")) == ["red"]  # unchanged: told again
    assert told(put(collection, text="blue")) == ["blue"]
    assert flagged(collection) == [("a", "blue", "flag")]
    collection.delete(["a"])
    assert flagged(collection) == []


def test_each_of_a_batch_is_told_its_own_flags(collection: Collection) -> None:
    watch(collection)
    results = collection.upsert([NewItem(str(n), text=text) for n, text in enumerate(["red", "blue", "red", " "])])

    assert [told(result) for result in results[:3]] == [["red"], [], ["red"]]
    assert isinstance(results[3], Failed)


def test_a_rejected_item_is_kept_out_and_noted(collection: Collection) -> None:
    watch(collection, "flags")
    watch(collection, "rejects", action="reject")

    results = collection.upsert([NewItem("good", text="blue"), NewItem("bad", text="red")])

    assert told(results[0]) == []
    assert isinstance(results[1], Failed)
    assert isinstance(results[1].error, ItemRejected)
    [flag] = collection.rules.flags(10)[0]
    assert (flag.item, flag.rule, flag.action) == ("bad", "rejects", "reject")
    assert "'rejects'" in results[1].error.detail
    assert f"{flag.score:.4f}" in results[1].error.detail
    assert [item.id for item in collection.items(10)[0]] == ["good"]
    assert collection.verify() == []


def test_a_chunk_that_is_rejected_as_a_whole_is_noted(collection: Collection) -> None:
    watch(collection, action="reject")
    collection.upsert([NewItem("a", text="red"), NewItem("b", text="red")])
    collection.upsert([NewItem("a", text="red")])

    assert flagged(collection) == [("a", "red", "reject"), ("b", "red", "reject")]
    assert collection.info().items == 0


def test_a_rejected_change_leaves_the_item_and_its_flags_as_they_were(collection: Collection) -> None:
    watch(collection, "blue", terms=(Term(text="blue"),))
    watch(collection, action="reject")
    put(collection, text="blue", image=picture("green"))

    rejected = put(collection, text="red", image=picture("black"))

    assert isinstance(rejected, Failed)
    assert collection.get("a").text == "blue"
    assert collection.original(collection.get("a")) == picture("green")
    assert flagged(collection) == [("a", "red", "reject"), ("a", "blue", "flag")]
    assert told(put(collection, text="blue", image=picture("green"))) == ["blue"]
    put(collection, text="green")
    assert flagged(collection) == []


def test_deleting_an_id_forgets_its_rejection(collection: Collection) -> None:
    watch(collection, action="reject")
    put(collection, text="red")

    assert collection.delete(["a"]) == 0
    assert flagged(collection) == []


def test_a_deleted_rule_takes_its_flags_with_it_and_judges_no_more(collection: Collection) -> None:
    watch(collection)
    watch(collection, "also")
    put(collection, text="red")
    collection.rules.delete("red")

    assert flagged(collection) == [("a", "also", "flag")]
    assert told(put(collection, text="a red thing")) == ["also"]


def test_a_rule_deleted_while_an_item_is_judged_leaves_no_flag(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = Rules.judge

    def judge_and_delete(self: Rules, items: Any, generation: Generation) -> Judgement:
        judged = judge(self, items, generation)
        self.delete("red")
        return judged

    watch(collection)
    monkeypatch.setattr(Rules, "judge", judge_and_delete)

    assert told(put(collection, text="red")) == []
    assert flagged(collection) == []


def test_rules_of_one_collection_judge_no_other(open_folder: Open) -> None:
    collections = open_folder()
    collections.put("shop", CollectionSettings())
    watch(collections.get("shop"))

    assert told(put(collections.get("default"), text="red")) == []
    assert collections.get("default").rules.all() == []
    assert told(put(collections.get("shop"), text="red")) == ["red"]
    collections.delete("shop")
    collections.put("shop", CollectionSettings())
    assert (collections.get("shop").rules.all(), flagged(collections.get("shop"))) == ([], [])


def test_flags_survive_a_restart_and_are_paged_newest_first(open_folder: Open) -> None:
    collection = open_folder().get("default")
    watch(collection)
    watch(collection, "also")
    for number in range(3):
        put(collection, str(number), text="red")
    rules = open_folder().get("default").rules

    seen: list[Flag] = []
    cursor = None
    while True:
        page, cursor = rules.flags(2, cursor, "also")
        seen += page
        if cursor is None:
            break

    assert [(flag.item, flag.rule) for flag in seen] == [("2", "also"), ("1", "also"), ("0", "also")]
    with pytest.raises(RuleNotFound):
        rules.flags(2, rule="none")
    with pytest.raises(CursorInvalid):
        rules.flags(2, "x")


def test_queries_are_embedded_once(open_folder: Open, encoder: FakeEncoder) -> None:
    collection = open_folder().get("default")
    for number in range(5):
        watch(collection, str(number))
    assert encoder.encoded_texts == 5

    collection = open_folder().get("default")
    for number in range(5):
        put(collection, str(number), text="red")

    assert encoder.encoded_texts == 10


def test_a_rule_changed_beside_judging_is_not_missed(collection: Collection) -> None:
    """Rules come and go in one thread while the other reads them anew: the last state is what is judged by."""
    stop = threading.Event()

    def judge() -> None:
        while not stop.is_set():
            collection.rules.any()

    thread = threading.Thread(target=judge)
    thread.start()
    try:
        for _ in range(30):
            watch(collection)
            assert collection.rules.any()
            collection.rules.delete("red")
            assert not collection.rules.any()
    finally:
        stop.set()
        thread.join()


def test_under_another_model_texts_and_pictures_are_embedded_again(
    tmp_path: Path, collection: Collection, caplog: pytest.LogCaptureFixture
) -> None:
    put(collection, "seen", text="red")
    watch(collection, "text")
    watch(collection, "picture", terms=(Term(image=picture("red")),))
    watch(collection, "item", terms=(Term(item="seen"),))
    watch(collection, "vector", terms=(Term(vector=[1.0] * 16),))
    other = FakeEncoder(dimension=8, fingerprint="0" * 64)
    generation = collection.generations.follow("other", other)

    judged = collection.rules.judge({"a": {"text": other.encode_texts(["red"]).vectors[0]}}, generation)

    assert {match.criterion.rule for match in judged.matches["a"]} == {"text", "picture"}
    assert [record.args[0] for record in caplog.records if isinstance(record.args, tuple)] == ["item", "vector"]


# Judging is arithmetic

DIMENSION = 4


def units(count: int, seed: int) -> NDArray[np.float32]:
    drawn = np.random.default_rng(seed).normal(size=(count, DIMENSION))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def naive(criteria: Sequence[Criterion], item: Mapping[Modality, NDArray[np.float32]]) -> dict[str, tuple[str, float]]:
    """Rule by rule and modality by modality: the modality that exceeds its threshold the most, and its cosine."""
    found = {}
    for criterion in criteria:
        best = None
        for number, modality in enumerate(MODALITIES):
            if modality not in item or modality not in criterion.thresholds:
                continue
            cosine = sum(float(a) * float(b) for a, b in zip(criterion.vectors[number], item[modality], strict=True))
            excess = cosine - criterion.thresholds[modality]
            if excess >= 0 and (best is None or excess > best[0]):
                best = (excess, modality, cosine)
        if best:
            found[criterion.rule] = best[1:]
    return found


# Thresholds in steps that no drawn cosine comes near, so that rounding decides nothing.
THRESHOLDS = st.dictionaries(st.sampled_from(MODALITIES), st.sampled_from([-1.1, -0.51, 0.013, 0.497]), min_size=1)
OWN = st.sets(st.sampled_from(MODALITIES), min_size=1)


@settings(max_examples=200)
@given(
    thresholds=st.lists(st.tuples(THRESHOLDS, st.sampled_from(["flag", "reject"])), max_size=5),
    owned=st.lists(OWN, max_size=6),
    seed=st.integers(0, 1000),
)
def test_judging_equals_a_plain_loop_over_cosines(
    thresholds: list[tuple[dict[Modality, float], Any]], owned: list[set[Modality]], seed: int
) -> None:
    queries, vectors = units(2 * len(thresholds), seed), units(2 * len(owned), seed + 1)
    criteria = [
        Criterion(number, f"rule {number}", action, levels, queries[2 * number : 2 * number + 2])
        for number, (levels, action) in enumerate(thresholds)
    ]
    items = {
        str(number): {modality: vectors[2 * number + MODALITIES.index(modality)] for modality in own}
        for number, own in enumerate(owned)
    }

    judged = Judge(criteria).judge(items)

    actions = {criterion.rule: criterion.action for criterion in criteria}
    assert judged.matches.keys() == items.keys()
    for id_, item in items.items():
        expected = naive(criteria, item)
        rejecting = {rule: found for rule, found in expected.items() if actions[rule] == "reject"}
        found = {match.criterion.rule: (match.modality, match.score) for match in judged.matches[id_]}
        assert {rule: modality for rule, (modality, _) in found.items()} == {
            rule: modality for rule, (modality, _) in (rejecting or expected).items()
        }
        for rule, (_, score) in found.items():
            assert score == pytest.approx(expected[rule][1], abs=1e-6)
        assert (id_ in judged.rejected) == bool(rejecting)
