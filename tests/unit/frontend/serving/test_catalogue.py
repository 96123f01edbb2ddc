from collections.abc import Iterable

from epp.config.model import ModelConfig
from epp.core.endpoints import Endpoint, PoolSnapshot
from frontend.serving.catalogue import Known, ModelCatalogue, WorkerModels
from frontend.serving.modelpage import ListedModel


def endpoint(number: int, **labels: str) -> Endpoint:
    return Endpoint(f"w{number}", f"10.0.0.{number}", 8000, number, labels=labels)


class Pool:
    def __init__(self, *endpoints: Endpoint, models: Iterable[ModelConfig] = (), adapters: str = "") -> None:
        self.snapshot = PoolSnapshot.of(endpoints)
        self.catalogue = ModelCatalogue(
            tuple(models), lambda: self.snapshot, adapters.split().__contains__, started=1000
        )

    def say(self, number: int, *models: ListedModel, problem: str = "") -> None:
        said = None if problem else models
        self.catalogue.learn(number, WorkerModels(f"10.0.0.{number}:8000", said, problem))


def test_nobody_knows_anything() -> None:
    assert Pool().catalogue.known("m") is Known.NO
    assert Pool().catalogue.cards() == []


def test_a_worker_that_has_not_spoken_may_serve_anything() -> None:
    pool = Pool(endpoint(1))
    assert pool.catalogue.known("m") is Known.UNSURE
    pool.say(1, problem="refused")
    assert pool.catalogue.known("m") is Known.UNSURE
    assert pool.catalogue.problems() == {"10.0.0.1:8000": "refused"}
    pool.say(1, ListedModel("m"))
    assert pool.catalogue.known("m") is Known.YES
    assert pool.catalogue.known("other") is Known.NO


def test_configured_names_labels_and_adapters_are_known() -> None:
    config = ModelConfig("base", "/nowhere", aliases=("alias",))
    pool = Pool(endpoint(1, model="labelled"), models=[config], adapters="lora")
    assert all(pool.catalogue.known(name) is Known.YES for name in ("base", "alias", "lora", "labelled"))
    assert [card["id"] for card in pool.catalogue.cards()] == ["alias", "base", "labelled"]


def test_served_names_are_known_whatever_workers_say() -> None:
    snapshot = PoolSnapshot.of((endpoint(1),))
    catalogue = ModelCatalogue((), lambda: snapshot, lambda _: False, started=1, served=("mine",))
    catalogue.learn(1, WorkerModels("10.0.0.1:8000", (ListedModel("theirs"),), ""))
    assert catalogue.known("mine") is Known.YES
    assert catalogue.serving("mine") == snapshot.endpoints
    assert [card["id"] for card in catalogue.cards()] == ["mine", "theirs"]


def test_a_worker_keeps_its_word_while_it_cannot_be_asked() -> None:
    pool = Pool(endpoint(1))
    pool.say(1, ListedModel("m"))
    pool.say(1, problem="busy")
    assert pool.catalogue.known("m") is Known.YES
    assert pool.catalogue.known("other") is Known.NO


def test_another_worker_of_the_same_id_has_to_speak_for_itself() -> None:
    pool = Pool(endpoint(1))
    pool.say(1, ListedModel("m"))
    pool.snapshot = PoolSnapshot.of([Endpoint("w1", "10.0.0.9", 8000, 1)])
    assert pool.catalogue.known("other") is Known.UNSURE


def test_the_gone_are_forgotten() -> None:
    pool = Pool(endpoint(1), endpoint(2))
    pool.say(1, ListedModel("m"))
    pool.say(2, ListedModel("n"))
    pool.snapshot = PoolSnapshot.of([endpoint(2)])
    pool.catalogue.forget_gone()
    assert [card["id"] for card in pool.catalogue.cards()] == ["n"]


def test_strangers_are_those_who_serve_something_else() -> None:
    pool = Pool(endpoint(1), endpoint(2), endpoint(3))
    pool.say(1, ListedModel("m"))
    pool.say(2, ListedModel("n"))
    assert pool.catalogue.strangers("m") == {2}
    assert [e.worker_id for e in pool.catalogue.serving("m")] == [1, 3]
    pool.say(3, ListedModel("n"))
    assert pool.catalogue.strangers("m") == {2, 3}


def test_nobody_is_a_stranger_to_a_model_nobody_serves() -> None:
    pool = Pool(endpoint(1))
    pool.say(1, ListedModel("m"))
    assert pool.catalogue.strangers("n") == frozenset()


def test_an_alias_is_served_by_whoever_serves_its_model() -> None:
    config = ModelConfig("base", "/nowhere", aliases=("alias",))
    pool = Pool(endpoint(1), endpoint(2), models=[config])
    pool.say(1, ListedModel("base"))
    pool.say(2, ListedModel("n"))
    assert pool.catalogue.strangers("alias") == {2}


def test_sglang_names_adapters_behind_the_base() -> None:
    pool = Pool(endpoint(1))
    pool.say(1, ListedModel("base"))
    assert pool.catalogue.known("base:adapter") is Known.YES


def test_context_windows() -> None:
    pool = Pool(endpoint(1), endpoint(2))
    pool.say(1, ListedModel("m", 4096), ListedModel("lora", None, "m"))
    pool.say(2, ListedModel("m", 2048))
    assert pool.catalogue.context_window("m") == 2048
    assert pool.catalogue.context_window("lora") == 2048
    assert pool.catalogue.context_window("nobody") is None
    cards = {card["id"]: card for card in pool.catalogue.cards()}
    assert cards["lora"]["parent"] == "m"
    assert cards["m"]["created"] == 1000
