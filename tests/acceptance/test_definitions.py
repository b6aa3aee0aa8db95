"""What a definition says of a stage holds on a real node: limits, exit codes, grace, network, inputs."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from broker import topics
from tests.acceptance.conftest import FleetFactory
from tests.acceptance.fleet import MIB, PATIENCE, Fleet, Stage
from tests.services.eavesdropper import eavesdropper
from tests.services.waiting import wait_until
from winslow.errors import NotFound
from winslow.project import Reason, Run, RunState
from winslow_tui.facade.changes import Changes
from winslow_tui.shown.explanation import explain

RUNTIMES = ("docker", "process")
FOR_EVER = "while :; do sleep 0.05; done"


SECRET = f"s3cret-{secrets.token_hex(8)}"


@pytest.fixture(scope="module")
def fleet(fleet_factory: FleetFactory) -> Fleet:
    """One node with Docker, one with plain processes, told apart by their labels; both have the secret TOKEN."""
    made = fleet_factory()
    file = made.folder / "secrets.toml"
    file.touch(mode=0o600)
    file.write_text(f'TOKEN = "{SECRET}"\nOTHER = "x"\n')
    for runtime in RUNTIMES:
        made.agent(runtime, runtime=runtime, labels=[runtime], secrets=str(file)).start()
    for agent in made.agents.values():
        agent.online()
    return made


def _ended(fleet: Fleet, project: str) -> Run:
    (run,) = fleet.wait_idle(project).runs
    return run


@pytest.fixture(scope="module")
def wanting(fleet: Fleet) -> str:
    """A project whose stage needs a secret that no node has. Nodes look for new ones every ten seconds, so that it
    begins before the other tests."""
    return fleet.start(Stage("true", env={"KEY": "secret:LATER"}))


def test_a_secret_that_no_node_has(fleet: Fleet, wanting: str) -> None:
    shown = explain(fleet.document(wanting), list(fleet.nodes().values()))["runs"][0]
    assert shown["waits"] == "needs the secret LATER; best node docker has no such secret"
    answer = shown["nodes"]["docker"]
    assert (answer["answer"], answer["reasons"]) == ("pass", ["needs the secret LATER, has no such secret"])
    assert fleet.nodes()["docker"].secrets == ("OTHER", "TOKEN")
    file = fleet.folder / "secrets.toml"
    file.write_text(file.read_text() + 'LATER = "x"\n')


@pytest.fixture(scope="module", autouse=True)
def limited(fleet: Fleet) -> Mapping[tuple[str, str], str]:
    """Projects whose stages reach a limit, by limit and runtime. They do something first, for which a busy machine
    needs its time: so the limits are seconds, and these stages begin before the other tests."""
    left = "echo WINSLOW_RESULT: n=1; echo x > $WINSLOW_DIR_WORKSPACE/half"
    tidy = f"{left}; trap 'echo tidy; exit 0' TERM; {FOR_EVER}"
    silent = f"i=0; while [ $i -lt 10 ]; do echo $i; i=$((i+1)); sleep 0.5; done; {FOR_EVER}"
    stages: list[tuple[str, dict[str, object]]] = [
        (tidy, {"timeout": "4s"}),
        (silent, {"stall_timeout": "4s", "stop_grace": "0s"}),
    ]
    return {
        (next(iter(more)), runtime): fleet.start(Stage(script, tags=(runtime,), more=more))
        for script, more in stages
        for runtime in RUNTIMES
    }


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_timeout(fleet: Fleet, limited: Mapping[tuple[str, str], str], runtime: str) -> None:
    project = limited["timeout", runtime]
    run = _ended(fleet, project)
    assert (run.state, run.reason) == (RunState.FAILED, Reason.TIMEOUT)
    assert run.detail == "stopped after 4 s: the stage's timeout"
    assert run.attempt is not None
    assert (run.attempt.outcome, run.attempt.exit_code) == ("failed", 0), "it could end in order, and failed"
    assert fleet.written(project) == b"WINSLOW_RESULT: n=1\ntidy\n"
    assert run.results == {"n": "1"}
    assert fleet.files(project) == {"half": b"x\n"}
    assert fleet.event(project, "timeout").text == run.detail


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_stage_that_falls_silent(
    fleet: Fleet, limited: Mapping[tuple[str, str], str], runtime: str
) -> None:
    """Each line it writes begins the count anew; all of them together take longer than it may be silent."""
    project = limited["stall_timeout", runtime]
    run = _ended(fleet, project)
    assert (run.reason, run.detail) == (Reason.STALLED, "no output for 4 s: the stage's stall_timeout")
    assert fleet.written(project) == b"".join(b"%d\n" % number for number in range(10))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_stage_in_good_time(fleet: Fleet, runtime: str) -> None:
    limits = {"timeout": "1h", "stall_timeout": "1h", "ok_exit_codes": [0, 3]}
    run = _ended(fleet, fleet.start(Stage("echo done; exit 3", tags=(runtime,), more=limits)))
    assert (run.state, run.reason, run.detail) == (RunState.SUCCEEDED, None, "")
    assert run.attempt is not None and run.attempt.exit_code == 3


def test_a_code_that_is_not_among_the_good_ones(fleet: Fleet) -> None:
    run = _ended(fleet, fleet.start(Stage("true", more={"ok_exit_codes": [3]})))
    assert run.reason is Reason.EXIT_CODE
    assert run.detail == "exit code 0, which is not among the stage's ok_exit_codes"


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_line_that_is_a_failure(fleet: Fleet, runtime: str) -> None:
    script = "echo fine; printf 'ERROR: no \\033]0;x\\007frames' >&2; echo x > $WINSLOW_DIR_WORKSPACE/left"
    project = fleet.start(Stage(script, tags=(runtime,), more={"fail_on": ["^WARN", "^ERROR"]}))
    run = _ended(fleet, project)
    assert (run.state, run.reason) == (RunState.FAILED, Reason.LOG_PATTERN)
    assert run.detail == "wrote 'ERROR: no frames' (fail_on '^ERROR')"
    assert run.attempt is not None and run.attempt.exit_code == 0
    assert fleet.files(project) == {"left": b"x\n"}


def test_a_pattern_that_takes_for_ever_harms_nobody(fleet: Fleet) -> None:
    hard = "a" * 60 + "!"
    script = f"i=0; while [ $i -lt 30 ]; do echo {hard}; i=$((i+1)); done; echo ERROR: seen"
    project = fleet.start(Stage(script, more={"fail_on": ["(a+)+$", "^ERROR"]}))
    run = _ended(fleet, project)
    assert run.detail == "wrote 'ERROR: seen' (fail_on '^ERROR')"
    assert fleet.event(project, "patterns").text.startswith("fail_on '(a+)+$' is given up: ")


def test_progress_by_a_pattern_of_the_stages_own(fleet: Fleet) -> None:
    script = "echo '99 %'; echo 'step 3 (30 of 100)'; while [ ! -e /tmp/go ]; do sleep 0.02; done"
    project = fleet.start(Stage(script, tags=("docker",), more={"progress": r"\((\d+) of 100\)"}))
    fleet.wait_state(project, RunState.RUNNING)
    topic = topics.Progress(project=project, run=1, attempt=1)

    def percent() -> float | None:
        told = fleet.retained(topic.path).get(topic)
        return told.percent if told else None

    wait_until(lambda: percent() == 30, seconds=PATIENCE, what="30 %")
    fleet.go(project)
    assert _ended(fleet, project).state is RunState.SUCCEEDED


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_children_that_ignore_sigterm_are_killed_after_the_grace(fleet: Fleet, runtime: str) -> None:
    child = f"sh -c 'trap \"\" TERM; echo child up; {FOR_EVER}'"
    deaf = f"{child} & trap '' TERM; echo parent up; {FOR_EVER}"
    project = fleet.start(Stage(deaf, tags=(runtime,), more={"stop_grace": "0.2s"}))
    fleet.wait_state(project, RunState.RUNNING)
    for line in (b"child up\n", b"parent up\n"):
        fleet.wait_live(project, line)
    mark = f"WINSLOW_PROJECT_ID={project}".encode()
    assert len(_living(mark)) >= 2
    fleet.client.runs.abort(project)
    run = _ended(fleet, project)
    assert (run.reason, run.attempt and run.attempt.exit_code) == (Reason.ABORTED, 137)
    assert fleet.event(project, "aborting").text == "stopping: SIGTERM, after 0.2 s SIGKILL"
    assert not _living(mark)


def _living(mark: bytes) -> list[int]:
    """Processes of this machine, in a container or not, with a mark in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            continue  # it has ended
    return found


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_abort_gives_the_stages_own_grace(fleet: Fleet, runtime: str) -> None:
    script = f"trap 'sleep 0.3; echo saved; exit 0' TERM; echo up; {FOR_EVER}"
    project = fleet.start(Stage(script, tags=(runtime,), more={"stop_grace": "1h"}))
    fleet.wait_state(project, RunState.RUNNING)
    fleet.wait_live(project, b"up\n")
    fleet.client.runs.abort(project)
    assert _ended(fleet, project).reason is Reason.ABORTED
    assert fleet.written(project) == b"up\nsaved\n"


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_peak_of_a_short_stage(fleet: Fleet, runtime: str) -> None:
    """It is known by the first sample that was taken: an engine may give no second one in time."""
    wait = "while [ ! -e $HOME/go ]; do sleep 0.02; done"
    script = f"(head -c 40000000 /dev/zero; {wait}) | tail -c 39000000 > /dev/null"
    project = fleet.start(Stage(script, tags=(runtime,)))
    fleet.wait_state(project, RunState.RUNNING)
    fleet.wait_used(project, memory=38 * MIB - 10**6)
    fleet.go(project)
    run = _ended(fleet, project)
    assert run.attempt is not None
    assert 38 * MIB - 10**6 < run.attempt.peak.memory < 64 * MIB
    assert run.attempt.peak.cpus > 0


def test_networks(fleet: Fleet) -> None:
    count = "grep -c : /proc/net/dev"
    alone = fleet.start(Stage(count, tags=("docker",), more={"network": "none"}))
    hosts = fleet.start(Stage(count, tags=("docker",), more={"network": "host"}))
    assert _ended(fleet, alone).state is RunState.SUCCEEDED
    assert fleet.written(alone) == b"1\n", "only the loopback"
    run = _ended(fleet, hosts)
    assert run.reason is Reason.REFUSED_BY_NODE
    assert run.detail == "node docker does not let a stage use the host's network"


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_files_of_earlier_runs(fleet: Fleet, runtime: str) -> None:
    """By their stage (`inputs:`) and by their run's number (in a variable); neither can be written."""
    train = (
        "cd $WINSLOW_DIR_WORKSPACE; mkdir -p model/d; cd model; echo w >d/w; ln -s d/w link; echo n >../old"
    )
    use = """
        at=$WINSLOW_DIR_RESOURCES/@stages/train
        cat $at/model/d/w $at/model/link $OLD
        ls $at; ls $WINSLOW_DIR_WORKSPACE
        for change in "touch $at/new" "rm -f $at/model/d/w" "chmod 777 $at/model/d/w"; do
            if ($change) 2>/dev/null; then echo "allowed: $change"; fi
        done
    """
    project = fleet.project(
        Stage(train, name="train", tags=(runtime,)),
        Stage(use, name="use", tags=(runtime,), more={"inputs": ["#train:model/"], "workspace": "empty"}),
    )
    fleet.client.runs.start(project, changes=Changes(single=True))
    fleet.wait_idle(project)
    fleet.client.runs.start(project, stage="use", changes=Changes(env={"OLD": f"{project}#1:old"}))
    _, run = fleet.wait_idle(project).runs
    assert (run.state, run.detail) == (RunState.SUCCEEDED, "")
    assert fleet.written(project, run=2) == b"w\nw\nn\nmodel\n"
    assert fleet.files(project, run=2) == {}


def test_a_file_that_an_earlier_run_did_not_leave(fleet: Fleet) -> None:
    project = fleet.start(Stage("true"), Stage("true", name="two", more={"inputs": ["#one:gone.txt"]}))
    _, run = fleet.wait_idle(project).runs
    assert run.reason is Reason.INPUT_MISSING
    assert run.detail == "#one:gone.txt (run #1): there is no such file in the store"


@pytest.mark.parametrize(("runtime", "user"), [("docker", "1234:1234"), ("process", "")])
def test_a_secret_reaches_its_stage_and_nobody_else(fleet: Fleet, runtime: str, user: str) -> None:
    """It is looked for in everything that the agent, the broker, the store and the engine keep or show."""
    script = (
        "sha256sum < $TOKEN_FILE; ls -ln $TOKEN_FILE | cut -c 1-10; ls $(dirname $TOKEN_FILE);"
        " (echo x > $TOKEN_FILE) 2>/dev/null && echo written; echo $TOKEN_FILE;"
        " while [ ! -e /tmp/go ] && [ ! -e $HOME/go ]; do sleep 0.02; done"
    )
    agent = fleet.agents[runtime]
    with eavesdropper(fleet.config.settings.broker.url, f"winslow/{fleet.site}") as heard:
        more = {"user": user} if user else {}
        env = {"TOKEN_FILE": "secret:TOKEN"} | ({"HOME": "/tmp"} if user else {})
        project = fleet.start(Stage(script, tags=(runtime,), env=env, more=more))
        fleet.wait_state(project, RunState.RUNNING)
        fleet.wait_live(project, b"/TOKEN\n")
        digest, mode, listed, path = fleet.written(project).decode().splitlines()
        assert digest.split()[0] == hashlib.sha256(SECRET.encode()).hexdigest()
        assert (mode, listed) == ("-r--------", "TOKEN")
        assert (path == "/run/secrets/TOKEN") is (runtime == "docker")

        agent.kill()
        lent = [each for each in Path("/dev/shm").glob("winslow-*/*/TOKEN") if project in str(each)]
        lent += (agent.data / "attempts" / project).glob("*/secrets/TOKEN")
        assert len(lent) == 1
        kept = _kept(agent.home, but=lent[0]) | _processes()
        if runtime == "docker":
            kept["docker inspect"] = json.dumps(fleet.container(project).attrs).encode()
        agent.start().online()
        fleet.go(project)
        assert _ended(fleet, project).state is RunState.SUCCEEDED
        wait_until(lambda: not lent[0].parent.exists(), seconds=PATIENCE, what="the secret taken back")

        kept |= _kept(agent.home) | _stored(fleet)
        kept |= {f"message {number}": message for number, message in enumerate(heard)}
    assert any(project.encode() in content for content in heard)
    assert [name for name, content in kept.items() if SECRET.encode() in content] == []


def _stored(fleet: Fleet) -> dict[str, bytes]:
    """Every object of the store."""
    found = {}
    for info in fleet.store.walk(""):
        with suppress(NotFound):  # an agent's probe, removed by now
            found[info.key] = fleet.store.get(info.key).data
    return found


def _kept(home: Path, but: Path | None = None) -> dict[str, bytes]:
    """Every file of an agent, its log and journals among them."""
    files = (Path(folder) / name for folder, _, names in os.walk(home) for name in names)
    kept = _contents(path for path in files if path != but)
    assert any(name.endswith("/agent.log") for name in kept)
    return kept


def _processes() -> dict[str, bytes]:
    """What the list of processes shows to root: arguments and environment."""
    return _contents([*Path("/proc").glob("[0-9]*/cmdline"), *Path("/proc").glob("[0-9]*/environ")])


def _contents(paths: Iterable[Path]) -> dict[str, bytes]:
    found = {}
    for path in paths:
        with suppress(OSError):  # no file, or gone by now
            found[str(path)] = path.read_bytes()
    return found


def test_secrets_that_others_may_read_are_refused(fleet: Fleet) -> None:
    file = fleet.folder / "open.toml"
    file.touch(mode=0o644)
    agent = fleet.agent("careless", runtime="process", secrets=str(file)).start()
    wait_until(lambda: not agent.running, seconds=PATIENCE, what="the end of an agent that is refused")
    assert f"{file}: the node's secrets may be read by others (mode 644)" in agent.log
    assert f"chmod 600 {file}" in agent.log
    agent.stop()
    del fleet.agents["careless"]


def test_a_timeout_counts_on_while_the_agent_is_dead(fleet: Fleet) -> None:
    agent = fleet.agents["process"]
    project = fleet.start(Stage(FOR_EVER, tags=("process",), more={"timeout": "5s", "stop_grace": "0.2s"}))
    fleet.wait_state(project, RunState.RUNNING)
    agent.kill()
    (before,) = (journal for journal in agent.journals if journal.project == project)
    agent.start().online()
    after = [journal for journal in agent.journals if journal.project == project]
    assert all(journal.started == before.started for journal in after), "it began to count anew"
    run = _ended(fleet, project)
    assert (run.reason, len(run.attempts)) == (Reason.TIMEOUT, 1)


def test_the_next_agent_goes_on_stopping(fleet: Fleet) -> None:
    """By what its predecessor decided; the grace is given again."""
    agent = fleet.agents["docker"]
    script = f"n=0; trap 'n=$((n+1)); echo asked $n; [ $n = 2 ] && exit 0' TERM; {FOR_EVER}"
    project = fleet.start(Stage(script, tags=("docker",), more={"timeout": "3s", "stop_grace": "1h"}))
    fleet.wait_state(project, RunState.RUNNING)
    fleet.wait_live(project, b"asked 1\n")
    agent.kill()
    agent.start().online()
    run = _ended(fleet, project)
    assert (run.reason, run.detail) == (Reason.TIMEOUT, "stopped after 3 s: the stage's timeout")
    assert fleet.written(project) == b"asked 1\nasked 2\n"


def test_a_failing_line_is_not_forgotten_when_the_agent_dies(fleet: Fleet) -> None:
    agent = fleet.agents["docker"]
    script = "echo ERROR: early; while [ ! -e /tmp/go ]; do sleep 0.02; done; echo late"
    project = fleet.start(Stage(script, tags=("docker",), more={"fail_on": ["early", "late"]}))
    fleet.wait_state(project, RunState.RUNNING)
    fleet.wait_live(project, b"ERROR: early")
    agent.kill()
    fleet.go(project)
    agent.start().online()
    assert _ended(fleet, project).detail == "wrote 'ERROR: early' (fail_on 'early')"
    matched = {each.text for each in fleet.events(project) if each.event == "matched"}
    assert matched == {"wrote 'ERROR: early' (fail_on 'early')"}, "said again where its note was lost"


def test_a_run_starts_by_itself_when_a_node_gets_the_secret(fleet: Fleet, wanting: str) -> None:
    assert _ended(fleet, wanting).state is RunState.SUCCEEDED
    wait_until(lambda: "LATER" in fleet.nodes()["docker"].secrets, seconds=PATIENCE, what="the new secret")


def test_nothing_is_left(fleet: Fleet) -> None:
    fleet.assert_clean()
    fleet.assert_topics_true()
    assert all(agent.running for agent in fleet.agents.values())
