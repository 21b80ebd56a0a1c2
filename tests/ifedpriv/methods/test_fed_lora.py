"""FedAvg over LoRA: the backbone is untouched when the adapter is off, and the averaging is FedAvg's."""

import numpy as np
import pytest
import torch
from toys import toy_model, toy_tokenizer

from defenses.defense import Defense
from defenses.entropy import InsecureSeeded
from defenses.ledger import Ledger
from defenses.session import RoundInfo
from defenses.specs import ClearSpec, WireSpec
from defenses.upload import UploadKind
from ifedpriv.backbone.backbone import Backbone
from ifedpriv.data.task import Example, Task
from ifedpriv.errors import InputError, ModelError, UserError
from ifedpriv.experiment.pool import Clients
from ifedpriv.federation.cohort import Cohort, CohortSpec
from ifedpriv.federation.federation import Federation
from ifedpriv.icl.objective import Objective
from ifedpriv.methods import lora_adapter
from ifedpriv.methods.fed_lora import FedLora
from ifedpriv.methods.lora_adapter import Adapters, LoraAdapter, targets_for
from ifedpriv.methods.method import Client
from ifedpriv.methods.specs import FedLoraSpec

pytest.importorskip("peft")

TASK = Task("toy", "Text: {text}\nLabel:", ("good", "bad", "odd"))
SPEC = FedLoraSpec(rank=2, alpha=4, rounds=3, steps=2, batch_size=2, rate=0.05)


@pytest.fixture(scope="module")
def backbone():
    return Backbone.wrap(toy_model("llama"), toy_tokenizer())


def client(number=0, count=5):
    return Client(number, tuple(Example(f"the dog {number} {i} sat", (number + i) % 3) for i in range(count)))


def everything(model):
    """Every fact about a model that an adapter could leave changed."""
    modules = {name: id(module) for name, module in model.named_modules()}
    attributes = {name: sorted(module.__dict__) for name, module in model.named_modules()}
    weights = {name: (id(p), p.requires_grad, p.grad is None) for name, p in model.named_parameters()}
    values = {name: p.detach().clone() for name, p in model.named_parameters()}
    return modules, attributes, weights, values


def same(before, after):
    return before[:3] == after[:3] and all(torch.equal(before[3][name], after[3][name]) for name in before[3])


def hidden(backbone):
    with torch.no_grad():
        return backbone.hidden(backbone.make_batch([[0, 5, 6, 7], [0, 9]])).clone()


def drawn(method, scale=0.3, seed=1):
    """A state whose B is not zero, so that the adapter does something."""
    rng = np.random.default_rng(seed)
    start = method.initial_state()
    return start.with_arrays(
        {n: rng.normal(0, scale, a.shape).astype(np.float32) for n, a in start.arrays.items()}
    )


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt-neox", "opt", "phi3", "falcon-7b"])
def test_the_model_is_bit_for_bit_itself_when_the_adapter_is_off(family):
    backbone = Backbone.wrap(toy_model(family), toy_tokenizer())
    before, bare, print_ = everything(backbone.model), hidden(backbone), backbone.fingerprint
    method = FedLora(SPEC, backbone, TASK)
    assert same(before, everything(backbone.model))
    state = drawn(method)
    with method.artifact(state).on(backbone):
        assert not torch.equal(hidden(backbone), bare)
    method.client_step(state, client(), np.random.default_rng(0))
    assert same(before, everything(backbone.model))
    assert torch.equal(hidden(backbone), bare)
    assert Backbone.wrap(backbone.model, backbone.tokenizer).fingerprint == print_


def test_the_model_is_itself_after_a_failure_inside(backbone):
    before = everything(backbone.model)
    method = FedLora(SPEC, backbone, TASK)
    with pytest.raises(ZeroDivisionError), method.artifact(drawn(method)).on(backbone):
        raise ZeroDivisionError
    assert same(before, everything(backbone.model))


def test_the_start_changes_nothing(backbone):
    method = FedLora(SPEC, backbone, TASK)
    bare = hidden(backbone)
    with method.artifact(method.initial_state()).on(backbone):
        assert torch.equal(hidden(backbone), bare)


def test_an_adapter_adds_alpha_over_rank_times_b_a_x(backbone):
    """Against the formula: the folded weights W + (alpha / r) B A give the same hidden states."""
    method = FedLora(SPEC, backbone, TASK)
    state = drawn(method)
    with method.artifact(state).on(backbone):
        adapted = hidden(backbone)
    folded = Backbone.wrap(toy_model("llama"), toy_tokenizer())
    with torch.no_grad():
        for path in targets_for(folded, SPEC.targets):
            a, b = (torch.from_numpy(state.arrays[f"{path}/{which}"].copy()) for which in "AB")
            folded.model.get_submodule(path).weight += SPEC.alpha / SPEC.rank * b @ a
    assert torch.allclose(hidden(folded), adapted, atol=2e-5)
    assert not torch.allclose(hidden(backbone), adapted, atol=1e-2)


def test_one_client_is_plain_training(backbone):
    """FedAvg with one client is Adam on A and B, restarted each round: here by hand, on weights of our own."""
    method = FedLora(SPEC.model_copy(update={"schedule": "constant"}), backbone, TASK, seed=3)
    clients = Clients([client()], method.takes_part)
    exact = ClearSpec(wire=WireSpec(weights="fp32"))
    federation = Federation(
        method,
        Defense.from_spec(exact),
        clients,
        Cohort(CohortSpec(), 0),
        entropy=InsecureSeeded(0, "test"),
        ledger=Ledger(simulation=True),
        seed=9,
    )
    state = method.initial_state()
    own = {name: array.copy() for name, array in state.arrays.items()}
    adapters = Adapters(backbone, SPEC.rank, SPEC.alpha, SPEC.targets)
    objective = Objective(backbone, TASK, client().train)
    while state.round < method.rounds:
        rng = np.random.default_rng([9, 13, state.round, 0])
        with adapters.on(own) as parameters:
            moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in parameters]
            for step, chosen in enumerate(objective.batches(SPEC.steps, SPEC.batch_size, rng), start=1):
                gradients = torch.autograd.grad(objective.loss_of(chosen), parameters)
                with torch.no_grad():
                    for p, g, (first, second) in zip(parameters, gradients, moments, strict=True):
                        first.mul_(0.9).add_(0.1 * g)
                        second.mul_(0.999).add_(0.001 * g * g)
                        step_size = (
                            SPEC.rate
                            * (first / (1 - 0.9**step))
                            / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
                        )
                        p -= step_size
            own = adapters.values()
        state, record = federation.play_round(state)
        assert record.loss is not None
    # Adam divides by the root of the squared gradient, so entries whose gradient is rounding noise may differ.
    for name, array in state.arrays.items():
        assert np.quantile(np.abs(array - own[name]), 0.95) < 1e-4
        assert np.abs(array - method.initial_state().arrays[name]).max() > 0.01


def test_the_aggregate_is_the_mean_weighted_by_examples(backbone):
    method = FedLora(SPEC, backbone, TASK)
    people = [client(0, 2), client(1, 6)]
    state = drawn(method)
    kind, layout = method.asks(0)
    assert kind is UploadKind.WEIGHTS
    info = RoundInfo(0, kind, (0, 1), layout)
    defense = Defense.from_spec(ClearSpec(wire=WireSpec(weights="fp32")))
    server, uploads = defense.server(info), []
    for one in people:
        upload = method.client_step(state, one, np.random.default_rng(one.number)).upload
        uploads.append(upload)
        assert upload.weight == len(one.train)
        session = defense.client(one.number, info, InsecureSeeded(0, "test"))
        for frame in session.protect(upload):
            server.receive(one.number, frame)
    after = method.server_step(state, server.aggregate())
    assert after.round == 1 and set(after.arrays) == set(state.arrays)
    for name, array in after.arrays.items():
        expected = (2 * uploads[0].arrays[name] + 6 * uploads[1].arrays[name]) / 8
        np.testing.assert_allclose(array, expected, rtol=1e-6, atol=1e-7)
    even = FedLora(SPEC.model_copy(update={"aggregation": "uniform"}), backbone, TASK)
    assert even.client_step(state, people[1], np.random.default_rng(1)).upload.weight == 1


def test_the_broadcast_carries_every_weight(backbone):
    method = FedLora(SPEC, backbone, TASK, seed=5)
    state = drawn(method)
    (upload,) = method.broadcasts(state)
    blank = method.initial_state()
    heard = method.heard(blank, upload)
    assert all(np.array_equal(heard.arrays[name], state.arrays[name]) for name in state.arrays)
    other = FedLora(SPEC, backbone, TASK, seed=6).initial_state()
    assert any(not np.array_equal(other.arrays[n], blank.arrays[n]) for n in blank.arrays)


def test_training_lowers_the_loss(backbone):
    method = FedLora(SPEC.model_copy(update={"steps": 20}), backbone, TASK)
    examples = Objective(backbone, TASK, client().train)
    state = method.initial_state()
    step = method.client_step(state, client(), np.random.default_rng(0))

    def loss(arrays):
        with method.artifact(state.with_arrays(arrays)).on(backbone), torch.no_grad():
            return float(examples.loss_of(range(5)))

    assert loss(step.upload.arrays) < 0.7 * loss(state.arrays)


def test_epochs_show_every_example_once_each():
    backbone = Backbone.wrap(toy_model("llama"), toy_tokenizer())
    batches = Objective(backbone, TASK, client(count=7).train).passes(3, 3, np.random.default_rng(0))
    assert sorted(map(len, batches)) == [1, 1, 1, 3, 3, 3, 3, 3, 3]
    assert sorted(i for batch in batches for i in batch) == sorted(list(range(7)) * 3)


def test_saving_and_loading(backbone, tmp_path):
    method = FedLora(SPEC, backbone, TASK)
    adapter = method.artifact(drawn(method), {"task": "x"})
    path = tmp_path / "adapter.safetensors"
    adapter.save(path)
    back = LoraAdapter.load(path)
    assert (back.rank, back.alpha, back.targets, back.facts) == (2, 4.0, SPEC.targets, {"task": "x"})
    assert adapter.save(tmp_path / "again") is None and path.read_bytes() == (tmp_path / "again").read_bytes()
    with adapter.on(backbone):
        first = hidden(backbone)
    with back.on(backbone):
        assert torch.equal(hidden(backbone), first)
    stranger = Backbone.wrap(
        toy_model("llama", change=lambda m: m.lm_head.weight.data.mul_(2)), backbone.tokenizer
    )
    with pytest.raises(ModelError, match="fingerprint"), back.on(stranger):
        pass
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="cannot be read"):
        LoraAdapter.load(path)
    with pytest.raises(InputError, match="does not exist"):
        LoraAdapter.load(tmp_path / "none")


def test_two_adapters_at_once_are_refused(backbone):
    method = FedLora(SPEC, backbone, TASK)
    first, second = method.artifact(drawn(method)), method.artifact(drawn(method, seed=2))
    before = everything(backbone.model)
    with first.on(backbone), pytest.raises(ModelError, match="already"), second.on(backbone):
        pass
    assert same(before, everything(backbone.model))


@pytest.mark.parametrize(
    ("family", "last"),
    [
        ("llama", {"q_proj", "v_proj"}),
        ("gptj", {"q_proj", "v_proj"}),
        ("gpt2", {"c_attn"}),
        ("openai-gpt", {"c_attn"}),
        ("gpt-neox", {"query_key_value"}),
        ("bloom", {"query_key_value"}),
        ("falcon-7b", {"query_key_value"}),
        ("phi3", {"qkv_proj"}),
        ("mixtral", {"q_proj", "v_proj"}),
    ],
)
def test_every_block_gets_its_family_s_targets(family, last):
    backbone = Backbone.wrap(toy_model(family), toy_tokenizer())
    found = targets_for(backbone, SPEC.targets)
    assert {path.rpartition(".")[2] for path in found} == last
    assert len(found) == len(last) * backbone.n_layers


def test_an_unknown_target_is_refused_in_a_sentence(backbone):
    with pytest.raises(ModelError, match=r"method\.targets names 'c_attn'") as caught:
        targets_for(backbone, ("q_proj", "c_attn"))
    assert "v_proj" in caught.value.hint


def test_a_missing_peft_is_one_sentence(backbone, monkeypatch):
    monkeypatch.setattr(lora_adapter, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs the package peft") as caught:
        FedLora(SPEC, backbone, TASK)
    assert "ifedpriv[lora]" in caught.value.hint


def test_nothing_private_in_a_repr(backbone):
    method = FedLora(SPEC, backbone, TASK)
    shown = repr(method.artifact(drawn(method)))
    assert "rank=2" in shown and "array(" not in shown


def test_memory_of_past_clients_is_bounded(backbone):
    method = FedLora(SPEC.model_copy(update={"steps": 1, "batch_size": 1}), backbone, TASK)
    state = method.initial_state()
    for number in range(70):
        method.client_step(state, client(number, 1), np.random.default_rng(0))
    assert len(method._objectives) == 64
