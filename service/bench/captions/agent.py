"""The service's policies as a SimulEval agent: text in, word by word, committed text out.

    simuleval --agent service/bench/captions/agent.py --source SOURCE --target REFERENCE \\
        --source-type text --target-type text --output OUT --policy append_only

SimulEval cannot take words back, so what is written is what the policy commits. The agent is the
real session over the real engine; each read waits until everything is translated, as SimulEval
counts no computation for text.
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from simuleval.agents import TextToTextAgent
from simuleval.agents.actions import Action, ReadAction, WriteAction
from simuleval.utils import entrypoint

from service.bench.captions.documents import Line
from service.bench.captions.policies import POLICIES, presets_of
from service.bench.captions.simulated_replay import Speaker, open_stage
from service.bench.captions.transcript import session_params
from service.wire.protocol import (
    SessionUpdate,
    SourceCommit,
    SourceUpdate,
    TranslationDelta,
    TranslationFinal,
)
from tokenspeed.model.config import DEFAULT_MODEL


@entrypoint
class TokenSpeedAgent(TextToTextAgent):  # type: ignore[misc]
    """Reads a word, translates, and writes what has become committed."""

    def __init__(self, args: Namespace) -> None:
        self._policy = POLICIES[args.policy]
        self._params = session_params(
            args.source_lang, args.target_lang, has_partials=self._policy.has_partials
        )
        self._stage = open_stage(args.model, args.engine_device)
        self._sentence = 0
        super().__init__(args)

    @staticmethod
    def add_args(parser: ArgumentParser) -> None:
        """Add the agent's arguments to SimulEval's."""
        parser.add_argument("--model", type=Path, default=DEFAULT_MODEL)
        parser.add_argument("--engine-device", default="auto")
        parser.add_argument("--policy", choices=list(POLICIES), default="append_only")
        parser.add_argument("--source-lang", default="en")
        parser.add_argument("--target-lang", default="de")

    def reset(self) -> None:
        """Begin a new sentence with a session of its own."""
        super().reset()
        self._sentence += 1
        self._speaker = Speaker(
            self._stage, self._sentence, [Line("", "")], presets_of(self._policy)
        )
        self._rev = 0
        self._written = 0  # characters
        self._run(SessionUpdate(self._params))

    def policy(self) -> Action:
        """Translate what was read; write what is newly committed, in whole words."""
        text = " ".join(self.states.source)
        if self.states.source_finished:
            self._run(SourceCommit(segment_id="s", rev=self._rev, text=text))
        else:
            self._run(SourceUpdate(self._rev, text, segment_id="s"))
        self._rev += 1
        committed, is_final = self._committed()
        # Punctuation may still follow a committed word: it is whole once a space follows.
        end = len(committed) if is_final else committed.rfind(" ")
        new = committed[self._written : max(end, self._written)].strip()
        self._written = max(end, self._written)
        if not new and not is_final:
            return ReadAction()
        return WriteAction(new, finished=is_final)

    def _run(self, event: SessionUpdate | SourceUpdate | SourceCommit) -> None:
        self._speaker.say(event)
        self._stage.engine.run_until_idle()

    def _committed(self) -> tuple[str, bool]:
        """Return the committed text of the sentence, and whether it is all."""
        text = ""
        for received in self._speaker.transcript.received:
            if isinstance(received.event, TranslationDelta):
                text += received.event.append
            elif isinstance(received.event, TranslationFinal):
                return received.event.text, True
        return text, False
