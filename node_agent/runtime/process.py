"""Stages without a container engine: plain processes under a small shim each (design 6).

The shim (`shim.py`) outlives the agent; everything about a stage is in files in `process/` of its
attempt's directory, so any later agent finds it by looking. With bubblewrap a stage sees its mounts at
their targets, read-only ones read-only, and all other files of the machine read-only (`/tmp` and `/dev`
as they are); without, it sees its directories where they are and nothing is hidden. Neither is a wall
against a hostile stage, and limits of memory and cores are not enforced: an agent runs processes only
where its configuration says so.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from node_agent.runtime import attending, shim
from node_agent.runtime.cores import Cores
from node_agent.runtime.port import (
    ContainerSpec,
    ContainerStatus,
    ContainerUsage,
    Labels,
    Mount,
    OutputChunk,
    PullProgress,
    RuntimeFailure,
)
from node_agent.runtime.sandbox import at_top, bubblewrap, bubblewrap_works, outside, program_of
from node_agent.runtime.shim_output import ShimOutput
from winslow.logs import stamp

SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_POLL = 0.05
_READ = 1 << 18

T = TypeVar("T")


class ProcessRuntime:
    """Processes whose attempts lie at `root/<project>/<run>.<attempt>/`; that relative path is a
    container's id.

    `search` becomes a stage's PATH. `sandbox` None uses bubblewrap where it works; True insists on it."""

    name = "process"

    def __init__(self, root: Path, *, search: str = SEARCH, sandbox: bool | None = None) -> None:
        self._root = root
        self._search = search
        works = bubblewrap_works() if sandbox is not False else False
        self.sandboxed = works if sandbox is None else sandbox
        self._lacking = bool(sandbox) and not works
        self._executor = ThreadPoolExecutor(4, thread_name_prefix="process-runtime")
        self._cores = Cores()

    @property
    def guards_mounts(self) -> bool:
        """Only bubblewrap mounts read-only; a plain process may change modes of what its own user owns."""
        return self.sandboxed

    async def check(self) -> str:
        """What stages will run under. Raises RuntimeFailure where bubblewrap is wanted and does not work."""
        if self._lacking:
            raise RuntimeFailure(
                "bubblewrap is wanted for stages and does not work on this node",
                hint="install it (apt install bubblewrap), or allow user namespaces, or do without it",
            )
        return "plain processes" + (" under bubblewrap" if self.sandboxed else "")

    def places(self, mounts: Iterable[Mount]) -> dict[str, str]:
        """The targets under bubblewrap, else the directories themselves."""
        return {
            mount.target: mount.target if self.sandboxed and at_top(mount) else str(mount.source)
            for mount in mounts
        }

    async def user(self, container: str) -> int:
        """The agent's own."""
        return os.geteuid()

    async def overlays(self, directory: Path) -> bool:
        """Never: mounting needs an engine."""
        return False

    async def sees(self, directory: Path) -> bool:
        """Always: stages are processes beside the agent."""
        return True

    async def has_image(self, image: str) -> bool:
        """Images do not matter here: programs are the machine's own."""
        return True

    async def ensure_image(self, image: str, progress: PullProgress) -> str:
        """Nothing to fetch, and no digest."""
        return ""

    async def create(self, spec: ContainerSpec) -> str:
        """Write down what is to be run. Raises RuntimeFailure for what processes cannot give."""
        container = self._id(spec)
        known = attending.read(self._folder(container) / "spec.json")
        if known is not None:
            if known["labels"] != asdict(spec.labels):
                raise RuntimeFailure(
                    f"{spec.directory} belongs to something else",
                    hint="remove the directory if nobody needs it",
                )
            return container
        argv = (*(spec.entrypoint or ()), *spec.command)
        if not argv:
            raise RuntimeFailure(
                "the stage has no command, and without Docker there is no image to take one from",
                hint="give the stage a `command`",
            )
        if spec.user:
            raise RuntimeFailure(
                f"the stage wants user '{spec.user}', and plain processes run as the agent's user",
                kind="refused_by_node",
                hint="leave out `user`, or run the stage on a node with Docker",
            )
        if spec.network == "none" and not self.sandboxed:
            raise RuntimeFailure(
                "the stage wants no network, and plain processes have the machine's",
                kind="refused_by_node",
                hint="leave out `network`, install bubblewrap there, or run the stage on a node with Docker",
            )
        if any(mount.lower is not None for mount in spec.mounts):
            raise RuntimeFailure("plain processes cannot have overlay mounts")
        folder = spec.directory / "process"
        folder.mkdir(mode=0o700, exist_ok=True)
        home = folder / "home"
        home.mkdir(exist_ok=True)
        gpus = ",".join(spec.gpus)
        environment = {
            "PATH": self._search,
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "CUDA_VISIBLE_DEVICES": gpus,
            "NVIDIA_VISIBLE_DEVICES": gpus or "void",
            **spec.environment,
        }
        workdir = spec.workdir or next(
            (mount.target for mount in spec.mounts if not mount.read_only), str(home)
        )
        here = outside(workdir, spec.mounts)
        content: dict[str, object] = {
            "name": spec.name,
            "labels": asdict(spec.labels),
            "argv": list(argv),
            "environment": environment,
            "workdir": here,
            "sandboxed": self.sandboxed,
            "limit": spec.log_limit,
            "home": str(home),
        }
        if self.sandboxed:
            before = bubblewrap(spec.mounts, home=home, workdir=workdir, network=spec.network != "none")
            content["argv"] = [*before, *argv]
            content["workdir"] = "/"
            content["program"] = program_of(argv[0], here, environment["PATH"], spec.mounts)
        try:
            await self._run(partial(shim.write_whole, folder / "spec.json", content))
        except OSError as error:
            raise RuntimeFailure(
                f"{folder}: {error.strerror}", kind="disk_full", hint="free space there"
            ) from error
        return container

    async def start(self, container: str) -> None:
        """Start the shim, which starts the stage. Raises RuntimeFailure (command not found and the like)."""
        folder = self._folder(container)
        if (folder / "shim.json").exists():
            return
        spec = attending.read(folder / "spec.json")
        if spec is None:
            raise _gone(container)
        if spec["sandboxed"] and not spec["program"]:
            why = "the stage's command was not found on this node, or is no program"
            raise RuntimeFailure(
                f"{why}: {_command(spec)}", hint="check `command`; without Docker it is this machine's"
            )
        word = await self._run(partial(attending.launch, folder))
        if word != "ok":
            raise RuntimeFailure(
                f"the stage could not be started: {word or 'its shim died, see ' + str(folder / 'shim.log')}",
                hint="check `command` and `workdir`; without Docker the programs are this machine's own",
            )

    async def status(self, container: str) -> ContainerStatus | None:
        """From the files; None where there are none."""
        return self._status(container)

    async def wait(self, container: str) -> ContainerStatus:
        """Return when the shim has ended, and with it all processes."""
        while True:
            status = self._status(container)
            if status is None:
                raise _gone(container)
            if status.state == "exited":
                if status.exit_code is None:
                    await self._run(partial(attending.end_strays, self._folder(container)))
                return status
            await self._until_exit(container, None if status.state == "running" else _POLL)

    async def output(self, container: str) -> AsyncGenerator[OutputChunk, None]:
        """From the file that the shim writes, followed while it lives."""
        reader = ShimOutput()
        path = self._folder(container) / "output"
        offset = 0
        while True:
            status = self._status(container)
            if status is None:
                raise _gone(container)
            data = await self._run(partial(_read_at, path, offset))
            offset += len(data)
            for chunk in reader.feed(data):
                yield chunk
            if data:
                continue
            if status.state == "exited":
                for chunk in reader.end():
                    yield chunk
                return
            await self._until_exit(container, _POLL)

    async def usage(self, container: str) -> ContainerUsage | None:
        """One sample over the stage's processes. Network is not known."""
        owner = self._owner(container)
        if owner is None:
            self._cores.forget(container)
            return None
        seconds, usage = await self._run(partial(attending.usage, owner))
        now = asyncio.get_running_loop().time()
        if container not in self._cores:
            self._cores.begin(container, now=now, age=attending.age(owner))
        return replace(usage, cpus=self._cores.look(container, now=now, seconds=seconds))

    async def stop(self, container: str, *, grace: float) -> None:
        """SIGTERM to all processes, SIGKILL to all after `grace` seconds."""
        self._signal(container, signal.SIGTERM)
        await self._until_exit(container, grace)
        self._signal(container, signal.SIGUSR1)
        await self._until_exit(container, None)

    async def remove(self, container: str) -> None:
        """Kill it and drop its files; the mounts' directories stay."""
        self._cores.forget(container)
        folder = self._folder(container)
        await self.stop(container, grace=0)
        await self._run(partial(shutil.rmtree, folder, ignore_errors=True))

    async def find(self, site: str, node_uuid: str) -> list[ContainerStatus]:
        """All stages of this site and node below the root, running or not."""
        found = []
        for path in sorted(self._root.glob("*/*/process/spec.json")):
            status = self._status(str(path.parent.parent.relative_to(self._root)))
            if status and (status.labels.site, status.labels.node_uuid) == (site, node_uuid):
                found.append(status)
        return found

    async def close(self) -> None:
        """Release threads; stages go on."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    # --- inside ---------------------------------------------------------------------------------

    async def _run(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, function)

    def _id(self, spec: ContainerSpec) -> str:
        try:
            parts = spec.directory.relative_to(self._root).parts
        except ValueError:
            parts = ()
        if len(parts) != 2:
            raise RuntimeFailure(f"{spec.directory} is not an attempt's directory below {self._root}")
        return "/".join(parts)

    def _folder(self, container: str) -> Path:
        parts = container.split("/")
        if len(parts) != 2 or any(part in ("", ".", "..") for part in parts):
            raise RuntimeFailure(f"'{container[:80]}' is no process container's id")
        return self._root / parts[0] / parts[1] / "process"

    def _owner(self, container: str) -> int | None:
        """The live shim's pid; None where it is not running (any more, or since a reboot)."""
        me = attending.read(self._folder(container) / "shim.json")
        if me is None or me["boot"] != attending.boot_id() or shim.process_ticks(me["pid"]) != me["ticks"]:
            return None
        return int(me["pid"])

    def _signal(self, container: str, number: int) -> None:
        owner = self._owner(container)
        if owner is None:
            return
        try:
            handle = os.pidfd_open(owner)
        except ProcessLookupError:
            return
        try:
            if (
                self._owner(container) == owner
            ):  # looked at again: the number could have been given to another
                signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return
        finally:
            os.close(handle)

    async def _until_exit(self, container: str, seconds: float | None) -> None:
        """Return when the shim has ended, or after so many seconds."""
        owner = self._owner(container)
        if owner is None:
            if seconds and not (self._folder(container) / "exit.json").exists():
                await asyncio.sleep(min(seconds, _POLL))
            return
        try:
            handle = os.pidfd_open(owner)
        except ProcessLookupError:
            return
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(handle, ended.set)
        try:
            if self._owner(container) == owner:
                async with asyncio.timeout(seconds):
                    await ended.wait()
        except TimeoutError:
            return
        finally:
            loop.remove_reader(handle)
            os.close(handle)

    def _status(self, container: str) -> ContainerStatus | None:
        folder = self._folder(container)
        spec = attending.read(folder / "spec.json")
        if spec is None:
            return None
        labels = Labels(**spec["labels"])
        me = attending.read(folder / "shim.json")
        if me is None:
            return ContainerStatus(id=container, labels=labels, state="created")
        started = stamp(me["started"])
        alive = self._owner(container) is not None  # asked before the last file is looked for
        last = attending.read(folder / "exit.json")
        if last is None and alive:
            return ContainerStatus(id=container, labels=labels, state="running", started_at=started)
        if last is None:
            why = (
                "the node was restarted"
                if me["boot"] != attending.boot_id()
                else "the shim that watched the stage was killed"
            )
            return ContainerStatus(id=container, labels=labels, state="exited", error=why, started_at=started)
        error = last["error"]
        if last["lost"]:
            error = f"{last['lost']} bytes of output could not be written: the node's disk was full"
        return ContainerStatus(
            id=container,
            labels=labels,
            state="exited",
            exit_code=last["code"],
            error=error,
            started_at=started,
            finished_at=stamp(last["finished"]),
            peak_memory=last.get("memory", 0),
            cpus=last.get("cpus", 0.0),
        )


def _gone(container: str) -> RuntimeFailure:
    return RuntimeFailure(
        f"{container}: the process container is gone", hint="its files were removed by somebody"
    )


def _read_at(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            return os.pread(file.fileno(), _READ, offset)
    except FileNotFoundError:  # the shim has not made it yet
        return b""


def _command(spec: Mapping[str, Any]) -> str:
    argv = list(spec["argv"])
    return repr(argv[argv.index("--") + 1])
