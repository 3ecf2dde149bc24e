"""Files on the command line: names, notes of what is done, outputs whole or not at all."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from service.commands.translate_file import (
    TEXTS_AT_ONCE,
    named_files,
    output_of,
    translate_file,
)
from tokenspeed.cli import main
from tokenspeed.errors import CommandError, DocumentError

SRT = """1
00:00:00,500 --> 00:00:02,000
Good morning, everyone.

2
00:00:05,100 --> 00:00:07,000
- Where is the key?
- It is on the table.
"""


class Translator:
    """Capitals for translation; stops at a number of texts."""

    def __init__(self, stop_at: int = 1000) -> None:
        self.seen: list[str] = []
        self._stop_at = stop_at

    def __call__(self, texts: Sequence[str]) -> list[str]:
        if len(self.seen) + len(texts) > self._stop_at:
            raise KeyboardInterrupt
        self.seen += texts
        return [text.upper() for text in texts]


def test_words_are_files_or_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.srt", "b.txt", "odd"):
        Path(name).write_text("x")
    assert named_files(["a.srt", "b.txt"]) == [Path("a.srt"), Path("b.txt")]
    assert named_files(["odd"]) == [Path("odd")]
    for words in ([], ["Hello"], ["Hello", "a.srt"], ["See a.txt"], ["x" * 5000], ["a\0b"]):
        assert named_files(words) == []
    with pytest.raises(CommandError, match=r"c\.srt: not found"):
        named_files(["c.srt"])


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        ("d/talk.srt", None, "d/talk.de.srt"),
        ("talk.en.srt", "en", "talk.de.srt"),
        ("talk.en.srt", None, "talk.en.de.srt"),
        ("talk.fr.srt", "en", "talk.fr.de.srt"),
    ],
)
def test_an_output_is_named_by_its_language(name: str, source: str | None, expected: str) -> None:
    assert output_of(Path(name), source, "de") == Path(expected)


def test_a_file_is_translated_once_a_text(tmp_path: Path) -> None:
    path, output = tmp_path / "a.json", tmp_path / "a.de.json"
    path.write_text('{"a": "Yes", "b": "No", "c": "Yes"}')
    translator = Translator()
    assert translate_file(path, output, "de", "", translator) == 3
    assert output.read_text() == '{"a": "YES", "b": "NO", "c": "YES"}'
    assert translator.seen == ["Yes", "No"]
    assert sorted(tmp_path.iterdir()) == [output, path]


@pytest.mark.parametrize("end", ["", '["torn', "[1, 2, 3]\n", "no json\n"])
def test_an_interrupted_run_goes_on_where_it_stopped(
    tmp_path: Path, end: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, output, notes = (tmp_path / name for name in ("a.txt", "a.de.txt", "a.de.txt.part"))
    lines = [f"Line number {i}." for i in range(3 * TEXTS_AT_ONCE)]
    path.write_text("\n".join(lines))
    with pytest.raises(KeyboardInterrupt):
        translate_file(path, output, "de", "x", Translator(stop_at=2 * TEXTS_AT_ONCE))
    assert not output.exists()
    assert f"{path}: {2 * TEXTS_AT_ONCE} texts are translated" in capsys.readouterr().err
    with notes.open("a") as file:
        file.write(end)
    path.write_text("\n".join(["A new one.", *lines]))
    translator = Translator()
    translate_file(path, output, "de", "x", translator)
    assert translator.seen == ["A new one.", *lines[2 * TEXTS_AT_ONCE :]]
    assert output.read_text() == path.read_text().upper()
    assert not notes.exists()


def test_notes_of_another_origin_are_not_taken_over(tmp_path: Path) -> None:
    path, output, notes = (tmp_path / name for name in ("a.txt", "a.de.txt", "a.de.txt.part"))
    path.write_text("Hi.")
    notes.write_text(json.dumps({"origin": "fr"}) + '\n["Hi.", "Salut."]\n')
    translate_file(path, output, "de", "de", Translator())
    assert output.read_text() == "HI."


def test_what_cannot_be_read_or_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(DocumentError, match="it is not JSON"):
        translate_file(tmp_path / "a.json", tmp_path / "b.json", "de", "", Translator())
    with pytest.raises(CommandError, match="No such file"):
        translate_file(tmp_path / "none.txt", tmp_path / "b.txt", "de", "", Translator())
    (tmp_path / "a.txt").write_text("Hi.")
    with pytest.raises(CommandError, match="No such file"):
        translate_file(tmp_path / "a.txt", tmp_path / "none" / "b.txt", "de", "", Translator())


def test_the_command_writes_beside_its_files(
    tiny_translator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, other = tmp_path / "talk.en.srt", tmp_path / "note.txt"
    path.write_text(SRT)
    other.write_text("Good morning.\n")
    command = ["translate", "--model", str(tiny_translator), "--from", "en", "--to", "de"]
    assert main([*command, str(path), str(other)]) == 0
    written = tmp_path / "talk.de.srt"
    assert capsys.readouterr().out == f"{written}\n{tmp_path / 'note.de.txt'}\n"
    kept = [line for line in SRT.splitlines() if "-->" in line]
    assert [line for line in written.read_text().splitlines() if "-->" in line] == kept
    assert main([*command, str(path)]) == 2
    assert f"{written} is there already; --force" in capsys.readouterr().err
    assert main([*command, str(path), "--force"]) == 0
    assert main([*command, str(other), "--output", str(tmp_path / "x.txt")]) == 0
    assert (tmp_path / "x.txt").is_file()


def test_a_text_that_does_not_fit_stays_and_is_told(
    tiny_translator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.json"
    endless = " ".join(["ŵŷ" * 40] * 8)  # long for the model, and no word too long for it
    path.write_text(json.dumps(["Good morning.", endless, "Good night."]))
    command = ["translate", "--model", str(tiny_translator), "--to", "de", "--json", str(path)]
    assert main(command) == 0
    said = capsys.readouterr()
    written = tmp_path / "a.de.json"
    line = json.loads(said.out)
    assert (line["file"], line["output"], line["texts"]) == (str(path), str(written), 3)
    left = line["untranslated"]  # a random model may leave more than the one
    assert left >= 1
    assert f"{path}: {left} sentences could not be translated and stay as they are" in said.err
    assert json.loads(written.read_text())[1] == endless


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.txt", "b.txt", "--output", "c.txt"], "--output names one file, and there are 2"),
        (["a.txt", "--output", "a.txt", "--force"], "a.txt is there already"),
        (["Hello", "--output", "c.txt"], "--output and --force are for files"),
        (["a.pdf"], "a.pdf: files of this kind are not translated"),
        (["none.srt"], "none.srt: not found"),
        (["a.txt", "--from", "ja"], "translation from ja to de is not supported"),
    ],
)
def test_a_wrong_call_gives_one_clear_line(
    tiny_translator: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.txt", "b.txt", "a.pdf"):
        Path(name).write_text("Hello")
    assert main(["translate", "--model", str(tiny_translator), "--to", "de", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
