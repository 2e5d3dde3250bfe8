"""The methods that there are, in the order in which they are told when nothing else orders them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from spdsim.errors import InputError
from spdsim.methods import drafters, overlapped, pipelined, plain, rounds, spd
from spdsim.methods.method import CannotBeHadError, Method, Missing
from spdsim.scenario import Scenario
from spdsim.scenario.memory import show_bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """A method's key, what it is in a few words, how it is put together, and whether it drafts nothing."""

    key: str
    name: str
    build: Callable[[Scenario], Method]
    is_plain: bool = False


METHODS = (
    Entry("plain", "plain decoding on one device", plain.one_device, is_plain=True),
    Entry("tensor_parallel", "plain decoding, tensor-parallel", plain.tensor_parallel, is_plain=True),
    Entry("plain_pipeline", "plain decoding over a pipeline", plain.pipeline, is_plain=True),
    Entry(
        "draft_then_verify", "a small model drafts, the target verifies",
        lambda s: rounds.drafted_in_rounds(s, "draft_then_verify", "draft, then verify", drafters.draft_model(s)),
    ),
    Entry(
        "eagle", "a head drafts token by token (EAGLE-3, chain)",
        lambda s: rounds.drafted_in_rounds(s, "eagle", "EAGLE chain", drafters.eagle(s)),
    ),
    Entry(
        "one_pass", "a head drafts all at once (Medusa, MTP, P-EAGLE, DFlash)",
        lambda s: rounds.drafted_in_rounds(s, "one_pass", "one-pass drafts", drafters.one_pass(s)),
    ),
    Entry("ppsd", "an early exit behind the first stage drafts (PPSD)", pipelined.early_exit),
    Entry("specpipe", "a draft model grows a tree in the pipeline (PipeDec, SpecPipe)", pipelined.tree_in_pipeline),
    Entry("asynchronous", "draft model and target side by side (PEARL, AMUSD)", overlapped.side_by_side),
    Entry("ssd", "answers prepared while the target verifies (SSD)", overlapped.prepared_answers),
    Entry("dsi", "replicas of the target verify in parallel (DSI)", overlapped.replicated),
    Entry("spd", "SPD as in the scenario", spd.as_written),
    Entry("spd_colocated", "SPD, draft module beside stage 0", spd.colocated),
    Entry("spd_sharded", "SPD, LM head sharded", spd.sharded),
    Entry("spd_tensor_parallel", "SPD, tensor-parallel stages", spd.in_groups),
)  # fmt: skip


def methods_of(scenario: Scenario, keys: tuple[str, ...] | None = None) -> Iterator[Method | Missing]:
    """Yield every method, or those of the given keys, on the scenario's devices, or why it cannot be had there."""
    for entry in METHODS if keys is None else map(method_named, keys):
        try:
            yield _that_fits(scenario, entry.build(scenario))
        except CannotBeHadError as error:
            yield Missing(entry.key, entry.name, str(error))


def _that_fits(scenario: Scenario, method: Method) -> Method:
    """The method, if its fullest device has room for all that it holds, the drafter's part too."""
    memory_bytes = scenario.devices.gpu.memory_bytes
    if memory_bytes is not None and method.device_bytes > memory_bytes:
        held, room = show_bytes(method.device_bytes), show_bytes(memory_bytes)
        raise CannotBeHadError(f"{method.title}: a device would need {held} and has {room}")
    return method


def method_named(key: str) -> Entry:
    """Return a method by its key. Raises InputError, which tells the nearest, if there is none."""
    found = next((entry for entry in METHODS if entry.key == key), None)
    if found is None:
        keys = [entry.key for entry in METHODS]
        close = get_close_matches(key, keys, 1)
        rule = f"did you mean {close[0]}?" if close else f"must be one of {', '.join(keys)}"
        raise InputError(f"method is {key}: {rule}")
    return found
