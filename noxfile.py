"""One session for each thing that can be checked; ``nox -l`` lists them.

``nox`` alone runs what a change must pass: tests, typing, lint, docs.
"""

from __future__ import annotations

import nox

PYPROJECT = nox.project.load_toml("pyproject.toml")

nox.options.sessions = ["tests", "typing", "lint", "docs"]
nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False


@nox.session(python=nox.project.python_versions(PYPROJECT))
def tests(session: nox.Session) -> None:
    """The whole test suite; arguments go to pytest."""
    session.install(".[cli,dev]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def spec(session: nox.Session) -> None:
    """The whole official test suite, in every mode; a few minutes."""
    session.install(".[cli,dev]")
    tests = ("tests/spec", "tests/instrument/test_limits.py")
    session.run("python", "-m", "pytest", *tests, *session.posargs, env={"TRIO_WASMDBG_SPEC": "all"})


@nox.session
def fuzz(session: nox.Session) -> None:
    """Random modules, plain against every other way to run them: ``nox -s fuzz -- --seconds 600``."""
    session.install(".[cli,dev]")
    session.run("python", "-m", "tests.fuzz", *session.posargs)


@nox.session
def real(session: nox.Session) -> None:
    """Real programs of npm and PyPI, plain and debugged, and stops in them; some minutes: ``-- quickjs``."""
    session.install(".[cli,dev]")
    session.run("python", "-m", "tests.real", *session.posargs)
    session.run("python", "-m", "pytest", "tests/real", "-k", "stop", env={"TRIO_WASMDBG_REAL": "all"})


@nox.session
def stress(session: nox.Session) -> None:
    """Cancellation under attack, each profile in its turn: ``-- --seconds 3600``."""
    session.install(".[cli]")
    for profile in ("mixed", "cancel", "interrupt", "drop", "teardown", "clients"):
        session.run("python", "-m", "trio_wasmdbg", "stress", "--profile", profile, *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """What debugging costs, beside its peers, as one table: ``nox -s bench -- --list`` names the parts."""
    session.install(".[cli,dev]")
    session.run("python", "-m", "tests.benchmarks", *session.posargs)


@nox.session
def typing(session: nox.Session) -> None:
    """The mypy check, strict, of the package, the tests and this file."""
    session.install(".[cli,dev]")
    session.run("mypy", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """The ruff rules, on everything."""
    session.install("ruff")
    session.run("ruff", "check", ".")


@nox.session
def docs(session: nox.Session) -> None:
    """The manual (a warning is an error) and the changelog of the next release, as a draft."""
    session.install(".[cli,docs]")
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html")
    session.run("towncrier", "build", "--draft", "--version", "next")


@nox.session
def guests(session: nox.Session) -> None:
    """Compile the bundled, the tests' and the benchmark's guests from C again (needs clang-22 and lld-22)."""
    session.run("bash", "trio_wasmdbg/guests/build.sh", external=True)
    session.run("bash", "tests/guests/build.sh", external=True)
    session.run("bash", "tests/benchmarks/programs/build.sh", external=True)
