"""A page that is wrong fails."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documentation import blocks
from tests.documentation.blocks import Block, Trip, block, parts_of
from tests.documentation.story import Story
from tests.documentation.test_pages import judge


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    with Story(tmp_path / "story", {"PATH": "/usr/bin:/bin", "GREETING": "hello"}, {"3000": "4711"}, 1) as story:
        yield story


def shell(text: str, **marks: str) -> Block:
    return Block("page.md", 1, "sh", text, marks)


def test_a_command_that_fails_fails_the_page(story: Story) -> None:
    with pytest.raises(AssertionError, match="ended the shell"):
        story.go_on(shell("false | cat\necho never\n"))


def test_an_answer_that_should_have_been_a_refusal_fails_the_page(story: Story) -> None:
    with pytest.raises(AssertionError, match="was not refused"):
        story.go_on(shell("echo 'curl: (22) The requested URL returned error: 404'\n", refused="422"))


def test_one_block_knows_what_the_last_one_has_said(story: Story) -> None:
    story.go_on(shell('PORT=3000; export WHO="$GREETING, world"\n'))

    assert story.go_on(shell('echo "$WHO at $PORT"\n')).strip() == "hello, world at 4711"
    assert story.go_on(Block("page.md", 1, "console", "$ echo one\nthat is printed\n")).strip() == "one"


def test_what_a_page_says_that_is_printed_is_compared(story: Story) -> None:
    story.go_on(shell("echo credential 4711; echo done\n"))

    story.go_on(block("page.md", 1, "text prints", ["credential …", "done"]))
    with pytest.raises(AssertionError, match="credential 4711"):
        story.go_on(block("page.md", 1, "text prints", ["credential 4712", "done"]))


def test_a_file_is_written_and_a_program_is_run(story: Story) -> None:
    story.go_on(Block("page.md", 1, "js", "port(3000)\n", {"file": "app.mjs"}))

    assert (story.directory / "app.mjs").read_text() == "port(4711)\n"
    assert story.go_on(Block("page.md", 1, "python", "print(3000)\n")) == "4711\n"
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        story.go_on(Block("page.md", 1, "python", "1 / 0\n"))
    with pytest.raises(AssertionError, match="say which file it is"):
        story.go_on(Block("page.md", 1, "js", "1 / 0\n"))


@pytest.mark.parametrize(
    ("info", "text"),
    [
        ("json schema=OAuthError", '{"a": 1,}'),
        ("json", '{"error": "invalid_grant", "error_description": "", "summary": ""}'),
        ("json schema=ReconnectRequest", '{"identty": "any"}'),
        ("json schema=ReconnectRequest", '{"identity": "whoever"}'),
        ("json schema=Credential.scopes", '{"requested": [], "granted": [], "mising": []}'),
        ("json schema=Sync", '{"…": "…", "destination": {"…": "…", "schemaa": "sync_1"}}'),
        ("json schema=Sync", '{"…": "…", "collections": [{"…": "…", "state": "freshly"}]}'),
        ("json schema=Deleted", '{"id": "1"}'),
        ("json schema=Deleted", '{"id": "1", "deleted": true, "more": 1}'),
        ("toml", 'slug = "acme"'),
        ("toml", "there_is_no_such_key = 1"),
        ("yaml", "a: [1"),
    ],
)
def test_what_is_read_may_be_wrong(info: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r".+"):
        judge(block("page.md", 1, info, [text]), tmp_path)


def test_a_page_is_read_in_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page.md").write_text(
        "1. First\n\n   ```sh serves\n   run it\n   ```\n\n"
        '<!-- the end user opens http://a.example/connect, chooses deny and reads "Nothing" -->\n'
        "````text\n```sh\n```\n````\n"
    )
    monkeypatch.setattr(blocks, "BASE_DIR", tmp_path)

    assert list(parts_of("page.md")) == [
        Block("page.md", 3, "sh", "run it\n", {"serves": ""}),
        Trip("http://a.example/connect", "deny", "Nothing"),
        Block("page.md", 8, "text", "```sh\n```\n"),
    ]


def test_a_block_without_an_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page.md").write_text("```sh\necho\n")
    monkeypatch.setattr(blocks, "BASE_DIR", tmp_path)

    with pytest.raises(AssertionError, match=r"page\.md:1: this block has no end"):
        list(parts_of("page.md"))
