"""What a draft module's checkpoint keeps of its target, so that it is not used with another one.

Knows nothing of files.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from executor.draft.config import DraftConfig, MadeFor
from executor.model.architecture import Architecture, read_architecture
from executor.model.rotary import LinearScaling, Rotary
from executor.model.small import tensor_shapes


def made_for(config: Mapping[str, Any], name: str | None = None) -> MadeFor:
    """Return what a checkpoint keeps of the target with this config.json. name: its name or path.

    Raises InputError as `read_architecture` does.
    """
    architecture = read_architecture(config)
    return MadeFor(name, _family(config["model_type"]), fingerprint(architecture))


def fingerprint(architecture: Architecture) -> str:
    """Return a hash (SHA-256) of the names and sizes of a target's tensors.

    So two files that describe one model in different words have one, and so has a model that was trained further.
    """
    lines = sorted(f"{name} {tuple(tensor.shape)}" for name, tensor in tensor_shapes(architecture).items())
    return sha256("\n".join(lines).encode()).hexdigest()


def misfit(said: DraftConfig, config: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """Return what a checkpoint says otherwise than its target's config.json: the key, its value, the rule; or None.

    What a checkpoint does not say fits any target.
    """
    architecture, target = read_architecture(config), said.target
    family, prints = _family(config["model_type"]), fingerprint(architecture)
    if target.model_type is not None and _family(target.model_type) != family:
        return "model_type", target.model_type, f"must be {family}, the target's"
    if said.rotary is not None and said.rotary != architecture.rotary:
        return "rotary", _shown(said.rotary), f"must be {_shown(architecture.rotary)}, the target's"
    if target.fingerprint not in (None, prints):
        rule = f"must be {prints[:12]}…, that of the target's tensors: the module was made for another model"
        return "fingerprint", f"{target.fingerprint[:12]}…", rule
    return None


def _family(model_type: str) -> str:
    # The same model, within a multimodal one and alone.
    return model_type.removesuffix("_text")


def _shown(rotary: Rotary) -> str:
    match rotary.scaling:
        case None:
            scaling = ""
        case LinearScaling(factor):
            scaling = f", scaled by {factor:g}"
        case other:
            scaling = f", scaled by {other.factor:g} as Llama 3"
    return f"{rotary.dim} entries with theta {rotary.theta:g}{scaling}"
