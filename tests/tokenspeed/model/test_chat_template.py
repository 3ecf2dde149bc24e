"""Chat templates as people have them, and those that would do something else."""

import json
from pathlib import Path

import pytest

from tests.lazily import Lazily
from tests.tokenspeed.vocabularies import write_vocabulary
from tokenspeed.errors import CheckpointError, ProfileError
from tokenspeed.model.chat_template import PLACEHOLDER, ChatTemplate, find_chat_template

transformers = Lazily("transformers")

CHATML = (
    "{%- for message in messages %}\n"
    "    {{- '<|im_start|>' + message['role'] + '\n' }}\n"
    "    {{- message['content'] | trim + '<|im_end|>\n' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n"
    "    {{- '<|im_start|>assistant\n' }}\n"
    "    {%- if enable_thinking is defined and enable_thinking is false %}\n"
    "        {{- '<think>\n\n</think>\n\n' }}\n"
    "    {%- endif %}\n"
    "{%- endif %}\n"
)
GEMMA = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ raise_exception('No system role') }}{% endif %}"
    "{{ '<start_of_turn>' + message['role'] + '\n' }}"
    "{{ message['content'] | trim + '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
TRAINING = (
    "{% set ns = namespace(last='') %}{% for message in messages %}"
    "{% if message.role == 'tool' %}{% continue %}{% endif %}"
    "{% generation %}{{ message.role }}: {{ message.content }}{% endgeneration %}\n{% endfor %}"
    "{{ strftime_now('%Y') | length }}{{ {'a': '<é>'} | tojson }}"
)


def template(source: str) -> ChatTemplate:
    return ChatTemplate(source, Path("chat_template.jinja"), {"bos_token": "<bos>"})


@pytest.mark.parametrize("source", [CHATML, GEMMA, TRAINING])
def test_it_writes_what_transformers_writes(source: str, tmp_path: Path) -> None:
    write_vocabulary("bytes", tmp_path)
    said = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<bos>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(said))
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path)
    before, after = template(source).around(f"Translate it.\n\n{PLACEHOLDER} ")
    assert before + "Good" + after == reference.apply_chat_template(
        [{"role": "user", "content": "Translate it.\n\nGood "}],
        chat_template=source,
        add_generation_prompt=True,
        tokenize=False,
        enable_thinking=False,
    )


def test_a_system_message_stands_before() -> None:
    before, _ = template(CHATML).around(PLACEHOLDER, "Be brief.")
    assert before == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{% for %}", "is not readable: "),
        ("{{ messages[5].content }}", "its chat template fails: "),
        ("{{ raise_exception('Only tools') }}", "its chat template fails: Only tools"),
        ("Hello", "gives the text 0 times, expected once"),
        ("{{ messages[0].content }} {{ messages[0].content }}", "gives the text 2 times"),
        ("{{ messages.__class__.__mro__ }}", "its chat template fails: .*unsafe"),
        ("{{ messages.append(1) }}", "its chat template fails: .*safe"),
        ("{% for i in range(999999999) %}{% endfor %}", "its chat template fails: .*Range too big"),
        ("{{ 1 // 0 }}", "its chat template fails: "),
    ],
)
def test_what_it_does_wrong_is_told(source: str, problem: str) -> None:
    with pytest.raises(ProfileError, match=rf"chat_template.jinja: .*{problem}"):
        template(source).around(PLACEHOLDER)


@pytest.mark.parametrize(
    "files",
    [
        {"chat_template.jinja": "{{ bos_token }}A"},
        {"chat_template.json": json.dumps({"chat_template": "{{ bos_token }}A"})},
        {"tokenizer_config.json": json.dumps({"chat_template": "{{ bos_token }}A"})},
        {
            "tokenizer_config.json": json.dumps(
                {
                    "chat_template": [
                        {"name": "tool_use", "template": "B"},
                        {"name": "default", "template": "{{ bos_token }}A"},
                    ]
                }
            )
        },
    ],
    ids=["jinja", "json", "config", "named"],
)
def test_it_is_found_in_each_file(files: dict[str, str], tmp_path: Path) -> None:
    assert find_chat_template(tmp_path) is None
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "special_tokens_map.json").write_text('{"bos_token": {"content": "<bos>"}}')
    found = find_chat_template(tmp_path)
    assert found is not None
    with pytest.raises(ProfileError, match="0 times"):  # it is rendered, with its pieces
        found.around(PLACEHOLDER)


def test_files_that_are_damaged_are_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": 5}')
    with pytest.raises(ProfileError, match="tokenizer_config.json: chat_template is 5"):
        find_chat_template(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("[]")
    with pytest.raises(CheckpointError, match="tokenizer_config.json: expected a JSON object"):
        find_chat_template(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(ProfileError, match="chat_template.jinja: cannot be read"):
        find_chat_template(tmp_path)
