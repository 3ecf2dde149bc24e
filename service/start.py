"""From settings to a running state: loads the model, and makes what all connections share.

Knows the engine and the service's parts; does not know who listens, a server of its own or Ray.
"""

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import anyio.lowlevel

from service.captions.policy import PRESETS, Preset
from service.config import Config
from service.doors.state import AppState
from service.load import garbage
from service.translator import Translator
from tokenspeed.engine.loading import LoadedModel, load_engine
from tokenspeed.model.config import EngineConfig
from tokenspeed.text.glossary_files import HouseGlossary, read_glossary
from tokenspeed.text.warm import warm

ENGINE_CLOSE_S: Final = 5.0  # for a step under way
SWITCH_S: Final = 0.001  # that a thread may keep Python's lock while others want it


@dataclass(frozen=True, slots=True)
class Loaded:
    """What takes long to load: the running engine, and the operator's terms."""

    model: LoadedModel
    house: HouseGlossary


def slots(config: Config) -> int:
    """Return how many sequences the engine keeps: two per session, from 16 to 64."""
    return max(16, min(2 * config.max_sessions, 64))


def load(config: Config, num_threads: int = 0) -> Loaded:
    """Read the model and start its engine.

    Args:
        num_threads: of an engine on the CPU; 0: the cores that this process may use.
    Raises:
        TokenSpeedError, ValueError: a file cannot be read, or the device is not there.
    """
    house = HouseGlossary(read_glossary(config.glossary) if config.glossary else ())
    size = EngineConfig(num_slots=slots(config), num_threads=num_threads)
    model = load_engine(config.model, device=config.device, profile=config.profile, config=size)
    return Loaded(model, house)


async def make_state(
    config: Config, loaded: Loaded, presets: Mapping[str, Preset] = PRESETS
) -> AppState:
    """Return what all connections share, warm: nobody's first caption pays for a first step."""
    model = loaded.model
    translator = Translator(
        model.engine,
        model.tokenizer,
        model.prompts,
        max_length=model.engine.backend.max_length,
        budget_s=config.budget_ms / 1e3,
        house=loaded.house,
    )
    state = AppState(config, translator, model.name, model.engine, presets)
    warm(model.prompts.pairs)
    await anyio.lowlevel.checkpoint()  # imports what streamed answers need
    for source, target in sorted(model.prompts.pairs)[:1]:
        await translator.whole("One two three.", source, target)
    return state


def settle(state: AppState) -> None:
    """Exempt what is loaded from garbage collection, export the number of tasks; on the loop."""
    garbage.settle()
    # Each of the event loop, the engine's thread and those for texts waits no longer for another.
    sys.setswitchinterval(SWITCH_S)
    loop = asyncio.get_running_loop()
    state.metrics.gauge(
        "tokenspeed_event_loop_tasks",
        "Tasks of the event loop",
        lambda: len(asyncio.all_tasks(loop)),
    )
