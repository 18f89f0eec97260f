#!/usr/bin/env python3
"""One script for everything: sets up ``.venv`` beside it, then runs a task.

python3 dev.py demo | test | soak | mutate | lint | fix | types | bench
               | docs | run COMMAND … | setup | lock | chart | sbom | audit

It needs Python 3.11 or newer (with ``venv``) and the package index, nothing
else. Whatever follows the word goes on to the tool:

python3 dev.py demo --duration 20
python3 dev.py test tests/unit -k config
"""

# This file must be read by old Pythons too, to tell their users what is missing: no syntax newer than 3.6.
import difflib
import glob
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time

MINIMUM = (3, 11)
ROOT = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(ROOT, ".venv")
TRIES = 3
AUDIT = ["-m", "pip_audit", "--strict", "--disable-pip", "--require-hashes", "--requirement"]
AUDITED = ["requirements.lock", "requirements-ccxt.lock", "requirements-files.lock"]


def main(arguments):
    """Run one task; returns its exit code."""
    tasks = {
        "demo": (["demo", "fast"], lambda rest: [["-m", "bridge", "demo"] + rest]),
        "test": (["dev"], lambda rest: [["-m", "pytest"] + (rest or ["-n", "auto"])]),
        "lint": (["dev"], lambda rest: [["-m", "ruff", "check"] + rest, ["-m", "ruff", "format", "--check"] + rest]),
        "fix": (["dev"], lambda rest: [["-m", "ruff", "check", "--fix"] + rest, ["-m", "ruff", "format"] + rest]),
        "types": (["dev"], lambda rest: [["-m", "mypy"] + rest]),
        "soak": (["dev"], lambda rest: [["-m", "tests.soak"] + rest]),
        "mutate": (["dev", "mutate"], lambda rest: [["-m", "tests.mutation"] + rest]),
        "bench": (["dev"], lambda rest: [["-m", "benchmarks"] + rest]),
        "docs": (["docs"], lambda rest: [["-m", "mkdocs", "build", "--strict"] + rest]),
        "run": (["demo", "fast"], lambda rest: [["-m", "bridge"] + rest]),
        "setup": (["dev"], lambda _: [["-m", "bridge", "--version"]]),
        "lock": (["dev"], lambda rest: [[os.path.join("deploy", "lock.py")] + rest]),
        "chart": (["dev"], lambda rest: [[os.path.join("deploy", "chart_schema.py")] + rest]),
        "sbom": (["dev"], lambda rest: [[os.path.join("deploy", "sbom.py")] + rest]),
        "audit": (["audit"], lambda rest: [AUDIT + [lock] + rest for lock in AUDITED]),
    }
    if len(arguments) < 1 or arguments[0] not in tasks:
        print(__doc__.strip())
        if arguments and arguments[0] not in ("-h", "--help"):
            near = difflib.get_close_matches(arguments[0], tasks, 1)
            say("no task %r" % arguments[0] + ("; did you mean %r?" % near[0] if near else ""))
        return 0 if arguments and arguments[0] in ("-h", "--help") else 1
    if not works(sys.executable):
        return on_another_python(arguments)
    extras, command = tasks[arguments[0]]
    python = set_up(extras)
    if python is None:
        return 2
    os.environ.setdefault("NO_MKDOCS_2_WARNING", "1")  # the theme's notice about its successor
    if arguments[0] not in ("demo", "run"):
        os.chdir(ROOT)  # the product's own commands take paths as the user sees them, the tools as the repository does
    *before, last = command(arguments[1:])
    worst = max([subprocess.call([python] + words) for words in before] or [0])
    return become([python] + last) if worst == 0 else worst


def become(command):
    """Run a command in this one's place, so that signals reach it and its exit code is ours."""
    if os.name == "nt":  # there, exec returns to the shell at once
        return subprocess.call(command)
    sys.stdout.flush()
    os.execv(command[0], command)  # never returns
    return 2


def on_another_python(arguments):
    """Start again on the newest Python that will do, if the machine has one."""
    for candidate in other_pythons():
        if works(candidate):
            return become([candidate, os.path.abspath(__file__)] + arguments)
    if sys.version_info < MINIMUM:
        say("Python %d.%d or newer is needed; this is %s" % (MINIMUM + (sys.version.split()[0],)))
        say("install one (python.org, your system's packages, pyenv) and run: python3.13 dev.py " + " ".join(arguments))
    else:
        say("this Python has no working 'venv' module (on Debian and Ubuntu: apt install python3-venv)")
    return 2


def other_pythons():
    """Where a newer Python may be: on the path, and in pyenv's folders."""
    names = ["python3.%d" % minor for minor in range(14, MINIMUM[1] - 1, -1)]
    found = [path for path in map(shutil.which, names) if path]
    root = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    for name in names:
        found += sorted(glob.glob(os.path.join(root, "versions", "*", "bin", name)), reverse=True)
    return found


def works(python):
    """A name on the path may be a shim without a Python behind it, or lack ``venv``."""
    try:
        test = "import sys, ensurepip, venv; sys.exit(sys.version_info < %r)" % (MINIMUM,)
        return subprocess.call([python, "-c", test], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 0
    except OSError:
        return False


def set_up(extras):
    """Make ``.venv`` and install what is missing; returns its Python, or None after saying what failed."""
    python = os.path.join(VENV, "Scripts" if os.name == "nt" else "bin", "python.exe" if os.name == "nt" else "python")
    if not usable(python) and not make_venv():
        return None
    # "fast" is worth having and may fail (no compiler, no wheel): then it goes on without.
    required = [extra for extra in extras if extra != "fast"]
    if not ensure(python, required):
        say("the packages could not be installed; see above")
        return None
    if "fast" in extras and not ensure(python, ["fast"], quiet=True):
        say("the faster event loop and WebSocket client have no build for this machine: going on without")
        mark(["fast"])
    return python


def usable(python):
    """The virtual environment is whole, and its Python is still there."""
    return os.path.exists(python) and works(python)


def make_venv():
    """Make the virtual environment anew; says so if it can't."""
    say("making %s" % os.path.relpath(VENV, os.getcwd()))
    shutil.rmtree(VENV, ignore_errors=True)
    if subprocess.call([sys.executable, "-m", "venv", VENV]) == 0:
        return True
    shutil.rmtree(VENV, ignore_errors=True)
    say("the virtual environment could not be made; see above")
    return False


def ensure(python, extras, quiet=False):
    """Install the package, editable, with these extras, unless that has been done since pyproject.toml changed."""
    missing = [extra for extra in extras if not os.path.exists(stamp(extra))]
    if not missing:
        return True
    say("installing (%s) …" % ", ".join(missing))
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--editable", "%s[%s]" % (ROOT, ",".join(missing))]
    for attempt in range(1, TRIES + 1):
        errors = subprocess.DEVNULL if quiet else None
        if subprocess.call(command, cwd=ROOT, stderr=errors) == 0:
            mark(missing)
            return True
        if attempt < TRIES and not quiet:
            say("that failed; trying again in %d s" % (5 * attempt))
            time.sleep(5 * attempt)
        elif quiet:
            break
    return False


def stamp(extra):
    """The file that says: this extra is installed, as pyproject.toml and the version stand now."""
    digest = hashlib.sha256(ROOT.encode("utf-8"))  # an editable install knows its folder: moved means anew
    for name in ("pyproject.toml", os.path.join("bridge", "__init__.py")):
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(re.sub(rb"\s+", b" ", file.read()))
    return os.path.join(VENV, ".tickbridge-%s-%s" % (extra, digest.hexdigest()[:16]))


def mark(extras):
    """Remember that these extras need no second try."""
    for extra in extras:
        with open(stamp(extra), "w"):
            pass


def say(text):
    """A line for the developer, apart from the tools' output."""
    print("dev.py: %s" % text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
