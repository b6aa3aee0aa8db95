"""The agent as a program: made from its configuration, ended by SIGTERM, its containers left to run."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import secrets
import shutil
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from broker import topics
from broker.session import Session, Will
from node_agent import hardware
from node_agent.agent import Agent, Identity
from node_agent.cache import Cache
from node_agent.clock import Clock
from node_agent.journal import DataDirectory, Journals
from node_agent.places import Placer
from node_agent.runtime.docker import DockerRuntime
from node_agent.runtime.port import ContainerRuntime, RuntimeFailure
from node_agent.runtime.process import ProcessRuntime
from node_agent.sources import Sources
from node_agent.strategy import choose_strategy
from node_agent.tools import Tools
from node_agent.vault import Vault, leave_room, make_room, rooms
from winslow.config import AgentSettings, Config
from winslow.errors import NotFound, Refused, Unreachable, UsageError, WinslowError
from winslow.node import NodeState, Presence
from winslow.store import layout
from winslow.store.port import ObjectStore
from winslow.store.probe import check_conditional_writes
from winslow.store.s3 import S3Store

THREADS = 16
CACHE_SHARE = 0.5
"""Of the disk's free space at the start, where `[agent] cache_limit` says nothing."""

KEEP_FREE = 1 << 30
STORE_WAIT = 5.0


def main(config: Config) -> int:
    """Run until SIGTERM or SIGINT. Raises WinslowError for what makes it impossible to begin."""
    return asyncio.run(_run(config))


async def _run(config: Config) -> int:
    settings = config.settings.agent
    if not config.settings.broker.url:
        raise UsageError(
            "nothing says where the broker is",
            hint="set WINSLOW_BROKER_URL, or [broker] url in the configuration",
        )
    data = DataDirectory.open(settings.data_dir, new_uuid=lambda: secrets.token_hex(16))
    try:
        return await _serve(config, settings, data)
    finally:
        data.close()


async def _serve(config: Config, settings: AgentSettings, data: DataDirectory) -> int:
    rng = random.SystemRandom()
    clock = Clock()
    runtime = await choose_runtime(settings, data.attempts)
    share = hardware.find(data.path, cpus=settings.cpus, memory=settings.memory, gpus=settings.gpus)
    store = S3Store(config.store)
    identity = Identity(
        site=config.settings.site,
        node=settings.name,
        node_uuid=data.node_uuid,
        instance=secrets.token_hex(8),
        host=socket.gethostname(),
        boot_id=hardware.boot_id(),
        version=version("winslow"),
        labels=settings.labels,
    )
    executor = ThreadPoolExecutor(THREADS, thread_name_prefix="agent")
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    journals = Journals(data.attempts)
    cache = Cache(
        data.path / "cache",
        store=store,
        limit=settings.cache_limit or int(shutil.disk_usage(data.path).free * CACHE_SHARE),
        keep_free=KEEP_FREE,
    )
    data.attempts.mkdir(mode=0o700, exist_ok=True)
    vault = Vault(settings.secrets, room=await _room(runtime, settings, data))
    strategy = choose_strategy(data.path, overlay=await runtime.overlays(data.path))
    placer = Placer(cache=cache, journals=journals, strategy=strategy, link_inputs=runtime.guards_mounts)
    broker = config.settings.broker
    will = NodeState(
        node=identity.node,
        node_uuid=identity.node_uuid,
        instance=identity.instance,
        presence=Presence.OFFLINE,
        host=identity.host,
        boot_id=identity.boot_id,
    )
    session = Session(
        broker.url,
        client_id=f"agent-{identity.node}-{identity.instance}",
        site=identity.site,
        jitter=rng.random,
        username=broker.username,
        password=broker.password.get_secret_value() if broker.password else None,
        will=Will(topic=topics.NodeState(node=identity.node), payload=will),
    )
    trusted = asyncio.Event()
    sampler = hardware.Sampler(data.path, clock=clock.monotonic)
    async with session:
        agent = Agent(
            identity=identity,
            hardware=share,
            session=session,
            store=store,
            executor=executor,
            clock=clock,
            jitter=rng.random,
            sampler=sampler,
            secrets=vault.names(),
            skew=store.skew,
            trusted=trusted,
            tools=lambda mirror, publish: Tools(
                site=identity.site,
                node=identity.node,
                node_uuid=identity.node_uuid,
                boot_id=identity.boot_id,
                clock=clock,
                executor=executor,
                store=store,
                sources=Sources(store, monotonic=clock.monotonic),
                mirror=mirror,
                journals=journals,
                spools=data.path / "spool",
                runtime=runtime,
                placer=placer,
                cache=cache,
                publish=publish,
                log_limit=settings.log_limit,
                images=settings.images,
                allow_user=settings.allow_user or os.geteuid() == 0,
                allow_host_network=settings.allow_host_network,
                vault=vault,
                jitter=rng.random,
                gpus=lambda: sampler.gpus,
            ),
        )
        _say(f"node {identity.node}: {await runtime.check()}; workspaces by {strategy}")
        running = asyncio.create_task(agent.run(), name="agent")
        stopped = asyncio.create_task(stopping.wait(), name="stop")
        checking = asyncio.create_task(
            check_store(store, executor, rng, trusted, who=identity), name="store check"
        )
        watched: set[asyncio.Task[Any]] = {running, stopped, checking}
        try:
            while not (running.done() or stopped.done()):
                done, watched = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
                if checking in done:
                    checking.result()
            if running.done():
                _raise_first(running)
        finally:
            goodbye = agent.goodbye()
            for task in (checking, running):
                task.cancel()
                with suppress(asyncio.CancelledError, ExceptionGroup, WinslowError):
                    await task
            await agent.close()
            await session.close(goodbye)
            await runtime.close()
            stopped.cancel()
    executor.shutdown(wait=False, cancel_futures=True)
    cache.close()
    _say(f"node {identity.node}: stopped; containers go on")
    return 0


def _raise_first(task: asyncio.Task[None]) -> None:
    """The error that ended the agent, out of its task groups."""
    error = task.exception()
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    if error is not None:
        raise error


async def _room(runtime: ContainerRuntime, settings: AgentSettings, data: DataDirectory) -> Path | None:
    """Where secrets can be lent to stages without a disk."""
    for room in rooms(data.node_uuid):
        if settings.secrets is None:
            if room.is_dir() and make_room(room):
                return room  # what an earlier agent lent is still to be taken back
            continue
        try:
            if make_room(room) and await runtime.sees(room):
                return room
        finally:
            leave_room(room)
    return None


async def choose_runtime(settings: AgentSettings, attempts: Path) -> ContainerRuntime:
    """The first of `[agent] runtime` that works; `auto` is docker, then processes where they are allowed.

    Raises Refused with every reason when none does.
    """
    wanted: dict[str, None] = {}
    for choice in settings.runtime:
        both = {"docker": None} | ({"process": None} if settings.allow_process else {})
        wanted |= both if choice == "auto" else {choice: None}
    reasons = []
    for name in wanted:
        if name == "process" and not settings.allow_process:
            reasons.append("process: not allowed by this node's configuration ([agent] allow_process)")
            continue
        runtime: ContainerRuntime = DockerRuntime() if name == "docker" else ProcessRuntime(attempts)
        try:
            await runtime.check()
        except RuntimeFailure as failure:
            reasons.append(f"{name}: {failure}")
            await runtime.close()
            continue
        return runtime
    raise Refused(
        "no container runtime works here: " + "; ".join(reasons),
        hint="start Docker, or let this user into the group docker",
    )


async def check_store(
    store: ObjectStore,
    executor: ThreadPoolExecutor,
    rng: random.Random,
    trusted: asyncio.Event,
    *,
    who: Identity,
) -> None:
    """Set `trusted` when the store is known to let one of many conditional writes win; raises WinslowError when it
    does not (facts). Where writers that meet wait for each other the race takes seconds, so that an earlier
    agent's good result lets this one begin at once; the race is run all the same."""
    loop = asyncio.get_running_loop()
    passed = f"{layout.probe('passed')}{hashlib.sha256(str(store).encode()).hexdigest()[:16]}-{who.version}"

    def find() -> bool:
        try:
            return bool(store.get(passed))
        except NotFound:
            return False

    def race() -> None:
        try:
            check_conditional_writes([store], token=secrets.token_hex(8), rounds=2)
        except Unreachable:
            raise
        except WinslowError:
            store.delete(passed)
            raise
        store.put(passed, f"{who.node}\n".encode(), content_type="text/plain")

    said = ""
    while True:
        try:
            if await loop.run_in_executor(executor, find):
                trusted.set()
            await loop.run_in_executor(executor, race)
        except Unreachable as error:
            if not error.retryable:
                raise
            if str(error) != said:
                said = str(error)
                _say(f"{error}; trying again")
            await asyncio.sleep(STORE_WAIT * (0.5 + rng.random() / 2))
        else:
            trusted.set()
            return


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def fail(error: WinslowError) -> int:
    """An error that ends the agent, for whoever started it; its exit code."""
    _say(f"winslow agent: {error}")
    if error.hint:
        _say(f"  {error.hint}")
    return error.exit_code
