"""The unit of systemd and the image's server, as far as they can be checked without starting them."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from command_lines import problem

from puna.serve.keys import read_keys
from puna.serve.limits import Limits
from puna.serve.run import GRACE_S, HOST, PORT

LAUNCH = Path(__file__).parents[1] / "launch"
UNIT = (LAUNCH / "puna.service").read_text(encoding="utf-8")
CONTAINERFILE = (LAUNCH / "Containerfile").read_text(encoding="utf-8")
SETTINGS = dict(re.findall(r"^(\w+)=(.*)$", UNIT, flags=re.MULTILINE))
ANALYZE = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def test_the_unit_starts_a_server_on_loopback_with_keys_that_only_it_reads() -> None:
    program, _, command = SETTINGS["ExecStart"].partition(" ")
    assert Path(program).name == "puna"
    assert problem(f"puna {command}") is None
    assert f"--host {HOST} --port {PORT} " in command
    name, _, source = SETTINGS["LoadCredential"].partition(":")
    assert command.endswith(f" --keys ${{CREDENTIALS_DIRECTORY}}/{name}")
    assert f"install -D --mode 600 keys.txt {source} " in UNIT


def test_the_unit_gives_what_runs_its_time_and_takes_the_signals_code_for_success() -> None:
    assert int(SETTINGS["TimeoutStopSec"]) > GRACE_S
    assert f"(--grace, {GRACE_S:g} s)" in UNIT
    assert SETTINGS["SuccessExitStatus"] == "143"
    assert SETTINGS["KillMode"] == "mixed"
    assert int(SETTINGS["LimitNOFILE"]) > 2 * Limits().connections
    assert f"there are {Limits().connections} at most" in UNIT


@ANALYZE
def test_systemd_knows_every_setting_of_the_unit(tmp_path: Path) -> None:
    assert _verified(tmp_path, UNIT) == ""
    assert "'KilMode'" in _verified(tmp_path, UNIT.replace("KillMode", "KilMode"))


def _verified(folder: Path, unit: str) -> str:
    """What systemd says of a unit whose program is one that there is."""
    path = folder / "puna.service"
    path.write_text(unit.replace(SETTINGS["ExecStart"].split()[0], shutil.which("true") or "true"))
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


@ANALYZE
def test_systemd_finds_the_unit_hardly_exposed() -> None:
    """Below 2 of 10; a service without hardening has 9.6."""
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(LAUNCH / "puna.service")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-500:]


def test_the_image_serves_on_the_port_that_it_publishes_without_rights() -> None:
    comment = " ".join(line.removeprefix("#").strip().rstrip("\\") for line in CONTAINERFILE.split("\n") if "#" in line)
    found = re.search(r"docker run (--rm --init .*?) puna (puna serve .*?--keys \S+)", comment)
    assert found
    options, command = found.groups()
    assert problem(command) is None
    assert "--host 0.0.0.0 " in command
    assert f"--publish {HOST}:{PORT}:{PORT} " in options
    assert f"EXPOSE {PORT}\n" in CONTAINERFILE
    for right in ("--user 1000:1000 ", "--read-only ", "--cap-drop ALL ", "--security-opt no-new-privileges "):
        assert right in options
    stop = re.search(r"--stop-timeout (\d+)", options)
    assert stop
    assert int(stop[1]) > GRACE_S
    volumes = dict(volume.split(":")[:2] for volume in re.findall(r"--volume (\S+)", options))
    assert command.endswith(f"--keys {volumes['./keys.txt']}")
    assert "serve" in re.findall(r"'\.\[([a-z0-9,]+)\]'", CONTAINERFILE)[0].split(",")


@pytest.mark.parametrize("text", [UNIT, CONTAINERFILE])
def test_the_form_of_keys_that_both_name_is_the_one_that_is_read(text: str, tmp_path: Path) -> None:
    found = re.search(r"lines of ['`](\w+: \w+)['`]", text)
    assert found
    path = tmp_path / "keys.txt"
    path.write_text(found[1].replace(": key", ": a-key-of-16-letters"))
    path.chmod(0o600)
    assert len(read_keys(path)) == 1
