"""
`manage.py providers`: what the catalogue says, whether it is sound, and how something is added to it.

It stands on this floor, since a trip of a provider needs all of those below.
"""

import difflib
import logging
import tempfile
import warnings
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.utils import timezone

from credentials.trial import TrialFailed, try_out
from providers import catalogue, kinds
from providers.adding import writing
from providers.adding.discovery import NotDiscovered, discover
from providers.adding.writing import AnswerNotAccepted, Answers, Metadata, Question
from providers.provider import Provider
from providers.sandbox import script
from providers.showing import logo, pages, terminal
from sequin_auth.lib import schema

NEXT_STEPS = """
What to do next
  1. Read {path} beside the documentation: what departs from the RFCs, scopes with a sentence each, what is kept of an
     account. docs/adding-a-provider.md has every key.
  2. Rewrite its [sandbox] from the documentation: what the servers take, and what they answer, word for word.
  3. manage.py providers lint {path}
  4. manage.py providers try {slug}
  5. Restart the gateway: files are read at its start."""
IN_A_CHECKOUT = """
  6. manage.py providers docs
     writes its page in docs/providers/, and the index; a test compares."""
NOT_MIGRATED = "A trip needs a migrated database: `make run` makes one."


class Command(BaseCommand):
    help = "The providers of the catalogue: list them, show one, check the files, try one out, add one."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="list|show|lint|try|new|docs|logos")
        actions.add_parser("list", help="one line per provider")
        show = actions.add_parser("show", help="all that a developer needs to register an app there")
        show.add_argument("slug", help="or an alias")
        lint = actions.add_parser("lint", help="check the built-in files and PROVIDERS_DIR, or the files given")
        lint.add_argument("paths", nargs="*", type=Path, metavar="PATH")
        trial = actions.add_parser("try", help="make its trip through the simulator, from the start to the revocation")
        trial.add_argument("slug", help="or an alias")
        new = actions.add_parser("new", help="write the file of a new provider, check it and try it out")
        new.add_argument("slug")
        new.add_argument(
            "--discover", metavar="ISSUER_OR_URL", help="read its metadata first (RFC 8414, OpenID Connect)"
        )
        new.add_argument("--no-input", action="store_true", help="ask nothing: what no option says, the default does")
        for question in writing.QUESTIONS:
            new.add_argument(f"--{question.option.replace('_', '-')}", default=SUPPRESS, help=question.text)

        docs = actions.add_parser(
            "docs", help="for maintainers: write docs/providers/ and the schema from the catalogue"
        )
        docs.add_argument("--check", action="store_true", help="write nothing; fail if they are not up to date")
        logos = actions.add_parser("logos", help="for maintainers: take the icons of an unpacked simple-icons")
        logos.add_argument("package", type=Path, metavar="PATH")

    def handle(self, *_: Any, **options: Any) -> None:
        match options["action"]:
            case "list":
                self.write(terminal.table(sorted(catalogue.load().values(), key=lambda provider: provider.slug)))
            case "show":
                self.write(terminal.description(found(options["slug"])))
            case "lint":
                self.lint(options["paths"])
            case "try":
                self.try_out(found(options["slug"]))
            case "new":
                self.add(options)
            case "docs":
                self.document(only_check=options["check"])
            case "logos":
                self.take_logos(options["package"])

    def write(self, lines: Iterable[str]) -> None:
        self.stdout.writelines(f"{line.rstrip()}\n" for line in lines)

    def lint(self, paths: list[Path]) -> None:
        """Every problem of every file. Raises CommandError (exit status 1) if there is one."""
        try:
            files = paths or catalogue.files()
            problems = [problem for path in files for problem in problems_of(path)]
            problems += [clash for clash in catalogue.clashes(paths) if not paths or speaks_of(clash, paths)]
        except ImproperlyConfigured as exc:
            raise CommandError(str(exc)) from exc
        self.write(map(str, problems))
        if count := len(problems):
            raise CommandError(f"{count} problem{'s' if count > 1 else ''} in the catalogue.")
        self.write([f"{len(files)} file{'s' if len(files) != 1 else ''}, no problems."])

    def try_out(self, provider: Provider) -> None:
        """Raises CommandError, which names the step at which the trip ended."""
        try:
            with quiet():
                steps = try_out(provider)
        except TrialFailed as exc:
            raise CommandError(f"{exc.step}: {exc}") from exc
        except DatabaseError as exc:
            raise CommandError(NOT_MIGRATED) from exc
        self.write(f"{step:9} {came_of_it}" for step, came_of_it in steps)

    def document(self, *, only_check: bool) -> None:
        folder = settings.BASE_DIR / "docs"
        wanted = pages.texts(catalogue.built_in(), pages.read_guide())
        changed = pages.outdated(folder, wanted) if only_check else pages.write(folder, wanted)
        self.write(f"docs/{name}" for name in changed)
        if only_check and changed:
            raise CommandError("These are not up to date: run `manage.py providers docs`.")

    def take_logos(self, package: Path) -> None:
        try:
            written = logo.write(package, catalogue.load())
        except logo.NotThePackage as exc:
            raise CommandError(str(exc)) from exc
        self.write([f"{len(written)} of {len(catalogue.load())} providers have an icon, the others their initials."])

    # ---- new -----------------------------------------------------------------------------------------------------

    def add(self, options: dict[str, Any]) -> None:
        path = self.new_path(options["slug"])
        if not is_migrated():
            raise CommandError(NOT_MIGRATED)
        metadata = self.discovered(options["discover"])
        answers: Answers = {"slug": options["slug"]}
        for question in writing.QUESTIONS:
            if question.asked(answers):
                answers[question.option] = self.answer(question, answers, metadata, options)
        text = writing.text_of(answers, metadata, today=timezone.now().date())
        self.refuse_unsound(path, text)
        with path.open("x", encoding="utf-8") as file:  # never over one that is there
            file.write(text)
        self.write([f"{path} is written."])
        catalogue.forget()
        kinds.forget()
        script.forget()
        self.lint([path])
        self.try_out(found(options["slug"]))
        steps = NEXT_STEPS + (IN_A_CHECKOUT if path.parent == catalogue.FOLDER else "")
        self.write(steps.format(path=path, slug=options["slug"]).splitlines())

    def refuse_unsound(self, path: Path, text: str) -> None:
        """Look at `text` before it is at `path`, where a problem would stop every other command."""
        with tempfile.TemporaryDirectory() as folder:
            draft = Path(folder) / path.name
            draft.write_text(text, encoding="utf-8")
            problems = problems_of(draft)
            problems += [clash for clash in catalogue.clashes([draft]) if speaks_of(clash, [draft])]
        if problems:
            self.write(f"{problem.message}: {text.splitlines()[problem.line - 1]}" for problem in problems)
            raise CommandError("Nothing was written: these answers make no sound file.")

    def new_path(self, slug: str) -> Path:
        """Where the file will be: the operator's folder; in a checkout, among the built-in ones."""
        try:
            writing.slug(slug)
        except AnswerNotAccepted as exc:
            raise CommandError(f"The slug {exc}.") from exc
        if known := catalogue.find(slug):
            raise CommandError(f"{known.name} has this slug or alias already.")
        if settings.PROVIDERS_DIR:
            folder = Path(settings.PROVIDERS_DIR)
        elif (settings.BASE_DIR / "tests").is_dir():
            folder = catalogue.FOLDER
        else:
            raise CommandError("Set PROVIDERS_DIR to a folder for files of your own.")
        path = folder / f"{slug}.toml"
        if path.exists():
            raise CommandError(f"{path} is there already.")
        return path

    def discovered(self, issuer_or_url: str | None) -> Metadata:
        if not issuer_or_url:
            return {}
        try:
            return discover(issuer_or_url)
        except NotDiscovered as exc:
            raise CommandError(f"Nothing was discovered.\n{exc}") from exc

    def answer(self, question: Question, answers: Answers, metadata: Metadata, options: dict[str, Any]) -> str:
        """What the option says, or what is typed; a bad answer is asked again."""
        option = f"--{question.option.replace('_', '-')}"
        default = question.default(answers, metadata)
        given = options.get(question.option)
        if given is None and options["no_input"]:
            if default is None:
                raise CommandError(f"{option} is needed: there is no default for it.")
            given = default
        if given is not None:
            try:
                return question.accept(given)
            except AnswerNotAccepted as exc:
                raise CommandError(f"{option} {exc}.") from exc
        while True:
            try:
                return question.accept(typed(question.text, default))
            except AnswerNotAccepted as exc:
                self.write([f"  It {exc}."])


def typed(text: str, default: str | None) -> str:
    try:
        return input(f"{text} [{default}]: " if default else f"{text}: ") or default or ""
    except EOFError:
        raise CommandError("There is nobody to ask: use --no-input and options.") from None


def is_migrated() -> bool:
    try:
        with quiet():
            return not schema.is_behind()
    except DatabaseError:
        return False


def speaks_of(clash: catalogue.Problem, paths: Iterable[Path]) -> bool:
    return any(clash.path == path or f"({path})" in clash.message for path in paths)


def problems_of(path: Path) -> list[catalogue.Problem]:
    """Also of its `[sandbox]` table, once the rest is sound."""
    problems = catalogue.problems_of(path)
    if problems:
        return problems
    provider = catalogue.parsed(path)
    try:
        if provider.sandbox:
            script.read(provider.slug, provider.name, provider.sandbox, provider.variables.keys())
    except script.NotPlayable as exc:
        return [catalogue.problem_of(path, str(exc), exc.keys)]
    return []


def found(slug: str) -> Provider:
    try:
        return catalogue.get(slug)
    except catalogue.UnknownProvider as exc:
        near = difflib.get_close_matches(slug, catalogue.load(), n=3)
        hint = f" Did you mean {', '.join(near)}?" if near else " `providers list` shows all."
        raise CommandError(f"No provider has this slug.{hint}") from exc


@contextmanager
def quiet() -> Iterator[None]:
    """Without a log line for each request of the trip, or a word on static files that it does not ask for."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
