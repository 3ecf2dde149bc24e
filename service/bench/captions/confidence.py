"""Whether words can be committed earlier by how sure the model is of them than by agreement alone.

Sentences are spoken word by word, and as a recogniser rewrites them, and each is replayed by many
rules. A rule is judged by how many of its committed words contradict the greedy translation of the
whole sentence, counted in two ways, and by how late it commits. Texts come as they are, without
text hygiene, and the model runs in float32 over the weights as stored; the engine's own int8 steps
differ a little.
"""

import argparse
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Final

import torch

from service.bench.captions.commit_rules import (
    Ask,
    Oracle,
    Replay,
    Rule,
    Segment,
    all_rules,
    contradicting_words,
    differing_words,
    replay_rules,
)
from service.bench.captions.confidence_tables import confidence_tables
from service.bench.captions.documents import Line, as_recogniser, first_words, word_by_word
from service.bench.captions.scores import mean_lagging
from service.bench.captions.streaming import TRACES, load_set
from tokenspeed.backends.reference import load_llama
from tokenspeed.bench.kept import SCORED, keep
from tokenspeed.bench.quality.text_score import score_text
from tokenspeed.bench.result import Row
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.decode import BatchDecoder, Decoded
from tokenspeed.model.prompt import load_prompt_format
from tokenspeed.model.tokenizer import Tokenizer
from tokenspeed.text.detokenizer import Detokenizer, TokenText
from tokenspeed.text.segmenter import cut, is_sentence

BATCH_SIZE: Final = 256


def measure_confidence(options: argparse.Namespace) -> list[Row]:
    """Replay everything and write the files that were asked for; return the rows.

    Raises:
        TokenSpeedError: the model cannot be used.
        OSError: a file cannot be read or written.
        ValueError: a set is unknown.
    """
    tasks = [(options, name, trace) for name in options.sets.split(",") for trace in TRACES]
    if options.processes > 1:
        # A process that is forked cannot use a GPU.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(options.processes, mp_context=context) as pool:
            found = list(pool.map(measure_place, *zip(*tasks, strict=True)))
    else:
        found = [measure_place(*task) for task in tasks]
    rows = [row for part in found for row in part]
    keep(
        options,
        rows,
        confidence_tables(rows),
        packages=SCORED,
        about={"settings": {"max_words": options.max_words, "device": options.device}},
        machine={"gpu": torch.cuda.get_device_name()} if options.device == "cuda" else None,
        is_of_model=True,
    )
    return rows


def measure_place(options: argparse.Namespace, name: str, trace: str) -> list[Row]:
    """Return a row for each rule on one set and trace.

    Raises:
        TokenSpeedError, OSError, ValueError: see `measure_confidence`.
    """
    lines, source, target = load_set(options.corpus, name, 0)
    oracle, token_text = open_oracle(options.model, options.device, source, target)
    segments = speak(first_words(lines, options.max_words), trace, oracle, token_text)
    updates = [update for segment in segments for update in segment.updates]
    # All that is asked while nothing contradicts, in a few large batches.
    oracle.ask([Ask(update.text, True) for update in updates if not update.is_commit])
    replays = replay_rules(all_rules(), segments, oracle, token_text)
    about = {"set": name, "trace": trace, "segments": len(segments), "updates": len(updates)}
    about["decoded"] = oracle.num_decoded
    by_rule = groupby(replays, lambda replay: replay.rule)
    return [about | rule_row(rule, list(own)) for rule, own in by_rule]


def open_oracle(directory: Path, device: str, source: str, target: str) -> tuple[Oracle, TokenText]:
    """Open a model that translates from one language to another.

    Raises:
        TokenSpeedError: the model cannot be used.
    """
    tokenizer = Tokenizer.load(directory)
    prompts = load_prompt_format(directory, tokenizer)
    place = "cpu" if device == "reference" else device
    model = load_llama(open_checkpoint(directory), place, torch.float32)
    decoder = BatchDecoder(model, tokenizer.eos_ids[0], BATCH_SIZE)

    def decode(asks: Sequence[Ask]) -> list[Decoded]:
        return decoder.greedy_with_margins(
            [(*prompts.build(a.text, source, target, is_open=a.is_open), *a.forced) for a in asks]
        )

    return Oracle(decode), prompts.answer.token_text(Detokenizer(tokenizer.decoder))


def speak(
    lines: Sequence[Line], trace: str, oracle: Oracle, token_text: TokenText
) -> list[Segment]:
    """Return the sentences of lines with their updates.

    Their references are greedy translations of the whole sentences: what committed words are held
    against, and what LAAL counts as fast enough, the same for all rules.
    """
    sentences, continuing = split(lines)
    asks = [Ask(each.source, goes_on) for each, goes_on in zip(sentences, continuing, strict=True)]
    told = [
        replace(sentence, reference=token_text(whole.tokens)[0])
        for sentence, whole in zip(sentences, oracle.ask(asks), strict=True)
    ]
    updates = word_by_word(told) if trace == "words" else as_recogniser(told)
    spoken = [tuple(own) for _, own in groupby(updates, lambda update: update.line)]
    return [Segment(*each) for each in zip(told, spoken, continuing, strict=True)]


def split(lines: Sequence[Line]) -> tuple[list[Line], list[bool]]:
    """Cut lines into sentences, as the service does; say of each if its sentence goes on after it.

    They have no reference: nobody translated them one by one.
    """
    sentences, continuing = [], []
    for line in lines:
        parts = cut(line.source)
        for i, part in enumerate(parts):
            sentences.append(Line(part.strip(), "", line.document))
            continuing.append(i < len(parts) - 1 and not is_sentence(part))
    return sentences, continuing


def rule_row(rule: Rule, replays: Sequence[Replay]) -> Row:
    """Return how right and how late a rule was."""
    logs = [replay.log for replay in replays]
    early = sum(len(replay.early.split()) for replay in replays)
    pairs = [(replay.early, replay.segment.line.reference) for replay in replays]
    contradicting = sum(contradicting_words(*pair) for pair in pairs)
    differing = sum(differing_words(*pair) for pair in pairs)
    score = score_text([log.prediction for log in logs], [log.reference for log in logs])
    return {
        "family": rule.family,
        "agreement": max(each.agreement for each in rule.conditions),
        "wait_words": rule.wait_words,
        "margin": max(each.margin for each in rule.conditions),
        "committed_words": early,
        "contradicting_words": contradicting,
        "differing_words": differing,
        "contradicting": round(contradicting / max(1, early), 4),
        "differing": round(differing / max(1, early), 4),
        "early": round(early / max(1, sum(log.prediction_words for log in logs)), 4),
        "delay_words": round(mean_lagging(logs, "words", "committed"), 3),
        "chrf_offline": round(score.chrf, 2),
    }
