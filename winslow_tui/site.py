"""A whole site on one machine: broker, store and agents as children of one process (`winslow up`).

    DIR/config.toml          where everything is, with the store's keys (mode 600)
    DIR/broker, DIR/store    the two servers' data and logs
    DIR/agents/<name>/       an agent's configuration, log, cache and attempts

Everything listens on loopback only. Started again on the same DIR it finds all its data, and its agents
adopt the containers that went on meanwhile.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import signal
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from broker.embedded import EmbeddedBroker
from winslow.errors import Refused, WinslowError
from winslow.store.daemon import Daemon
from winslow.store.embedded import EmbeddedStore

BUCKET = "winslow"
AGENT_GRACE_SECONDS = 15.0
READY_SECONDS = 60.0
MEMORY_KEPT = 0.1
"""The share of the machine's memory that is left to the servers and the people on it."""


@dataclass(frozen=True)
class AgentPlan:
    """One agent's share of the machine; `memory` in bytes, `runtime` as in `[agent] runtime`."""

    name: str
    cpus: float
    memory: int
    runtime: str


class Site:
    """One DIR. `start` brings all up in order, `stop` takes it down in the opposite one; `tend` restarts what died."""

    def __init__(self, directory: Path, *, agents: int, runtime: str, say: Callable[[str], None]) -> None:
        self.directory = directory.resolve()
        self._say = say
        self._lock: IO[str] | None = None
        machine_cpus = len(os.sched_getaffinity(0))
        memory = int(psutil.virtual_memory().total * (1 - MEMORY_KEPT))
        self.plans = [
            AgentPlan(
                name=f"ws{number}",
                cpus=round(machine_cpus / agents, 2),
                memory=memory // agents,
                runtime=runtime,
            )
            for number in range(1, agents + 1)
        ]
        self._agents: list[Daemon] = []
        self._broker: EmbeddedBroker | None = None
        self._store: EmbeddedStore | None = None

    @property
    def config(self) -> Path:
        """What `WINSLOW_CONFIG` must name to use this site."""
        return self.directory / "config.toml"

    def start(self) -> None:
        """Start broker, store and agents. Raises Refused while another process has DIR, WinslowError, Unreachable."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = self._take_lock()
        keys = self._keys()
        broker = self._broker = EmbeddedBroker(self.directory / "broker")
        store = self._store = EmbeddedStore(
            self.directory / "store", access_key=keys[0], secret_key=keys[1], bucket=BUCKET
        )
        broker.start()
        self._say(f"broker  {broker.url}  ({broker.kind})")
        store.start()
        self._say(f"store   {store.endpoint}/{BUCKET}  (SeaweedFS)")
        _write_private(self.config, self._settings(broker, store, keys))
        for plan in self.plans:
            self._agents.append(self._agent(plan, broker, store, keys))
        for agent in self._agents:
            agent.start()

    def tend(self) -> None:
        """Start again what has ended by itself, and say so."""
        servers = (("the broker", self._broker), ("the store", self._store))
        for name, part in (*servers, *((agent.name, agent) for agent in self._agents)):
            if part is None or part.running:
                continue
            self._say(f"{name} has ended; starting it again")
            try:
                part.start()
            except WinslowError as error:
                self._say(f"{name}: {error}; trying again")

    def failed_agent(self) -> str:
        """The log's end of an agent that ended while the site started; empty when none did."""
        for agent in self._agents:
            if not agent.running:
                lines = agent.log.read_text(errors="replace").splitlines()
                return f"{agent.name}: {' | '.join(lines[-3:]) or 'it printed nothing'}"
        return ""

    def agent_pids(self) -> list[int]:
        """The agents' process ids, in the order of `plans`."""
        return [agent.pid for agent in self._agents]

    def stop(self) -> None:
        """Stop agents, store and broker; containers and processes of stages go on."""
        for agent in self._agents:
            agent.stop()
        if self._store is not None:
            self._store.stop()
        if self._broker is not None:
            self._broker.stop()
        if self._lock is not None:
            self._lock.close()

    def _take_lock(self) -> IO[str]:
        lock = (self.directory / "up.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            raise Refused(
                f"{self.directory}: a site is running there already",
                hint=f"use it: export WINSLOW_CONFIG={self.config}",
            ) from error
        return lock

    def _keys(self) -> tuple[str, str]:
        """The store's keys: those of an earlier start, else new ones."""
        try:
            store = tomllib.loads(self.config.read_text())["store"]
            return str(store["access_key"]), str(store["secret_key"])
        except FileNotFoundError:
            return secrets.token_hex(10), secrets.token_hex(20)
        except (KeyError, TypeError, tomllib.TOMLDecodeError) as error:
            raise WinslowError(
                f"{self.config}: cannot be read: {error}",
                hint="it holds the store's keys: restore it, or begin anew in another directory",
            ) from error

    def _settings(self, broker: EmbeddedBroker, store: EmbeddedStore, keys: tuple[str, str]) -> str:
        quoted = json.dumps  # a TOML basic string, for texts without control characters
        return (
            "# Written by `winslow up` at every start.\n"
            f'site = "main"\n\n[broker]\nurl = {quoted(broker.url)}\n\n'
            f"[store]\nurl = {quoted(f'{store.endpoint}/{BUCKET}')}\n"
            f"access_key = {quoted(keys[0])}\nsecret_key = {quoted(keys[1])}\n"
        )

    def _agent(
        self, plan: AgentPlan, broker: EmbeddedBroker, store: EmbeddedStore, keys: tuple[str, str]
    ) -> Daemon:
        home = self.directory / "agents" / plan.name
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        config = home / "config.toml"
        _write_private(
            config,
            self._settings(broker, store, keys)
            + f"\n[agent]\nname = {json.dumps(plan.name)}\ndata_dir = {json.dumps(str(home / 'data'))}\n"
            f"runtime = {json.dumps(plan.runtime)}\nallow_process = true\n"
            f"cpus = {plan.cpus}\nmemory = {plan.memory}\n",
        )
        variables = {name: "" for name in os.environ if name.startswith("WINSLOW_")}
        return Daemon(
            name=f"agent {plan.name}",
            command=[sys.executable, "-P", "-m", "node_agent"],
            log=home / "agent.log",
            environment={**variables, "WINSLOW_CONFIG": str(config)},
            grace_seconds=AGENT_GRACE_SECONDS,
        )


def stop_signals(stop: Callable[[], None]) -> None:
    """Call `stop` at ctrl+c, SIGTERM and SIGHUP."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: stop())


def _write_private(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    beside.replace(path)
