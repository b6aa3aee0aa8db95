"""From the claim to a container that has been started: image, files, container (design 6)."""

from __future__ import annotations

import asyncio
from fnmatch import fnmatchcase as fnmatch

from broker.messages import Phase
from node_agent import environment, needs, vault
from node_agent.held import Held
from node_agent.journal import Step
from node_agent.runtime.port import ContainerSpec, Labels, Mount, RuntimeFailure
from winslow.errors import InvalidInput, NotFound
from winslow.placement import size_text
from winslow.project import Run


async def prepare(held: Held) -> None:
    """Image and files, both at once; the journal is at PLACED then.

    Raises RuntimeFailure for an image that cannot be had or is refused, NotFound and InvalidInput for files.
    """
    tools, run, journal = held.tools, held.run, held.journal
    held.telling.claimed(run)
    image = asyncio.create_task(_image(held, run), name=f"image {journal.name}")
    place = asyncio.create_task(_place(held, run), name=f"place {journal.name}")
    try:
        digest, _ = await asyncio.gather(image, place)
    finally:
        for task in (image, place):
            task.cancel()
        await asyncio.gather(image, place, return_exceptions=True)
    await held.record(Step.PLACED, image_digest=digest, stage=run.stage.name, runtime=tools.runtime.name)


async def start(held: Held) -> None:
    """Create the container and start it. Raises RuntimeFailure; Aborted and Displaced while an engine is away."""
    tools, run = held.tools, held.run
    spec = await _spec(held, run)
    container = await held.engine(lambda: tools.runtime.create(spec), interruptible=True)
    await _give_secrets(held, spec, container)
    if not await _runs_already(held, container):
        await held.record(Step.CREATED, container=container, started=tools.clock.monotonic())
    held.telling.event(
        "starting",  # told before, so that it stands before the stage's first line
        f"starting {' '.join(run.stage.command) or run.stage.image}"[:400],
        {"container": container, "gpus": list(held.journal.gpus)},
    )
    await held.engine(lambda: tools.runtime.start(container), interruptible=True)
    await held.record(Step.STARTED)


async def _runs_already(held: Held, container: str) -> bool:
    """Whether an earlier agent started it and was killed before it wrote that down: its time runs from then."""
    if held.journal.step is not Step.CREATED:
        return False
    status = await held.engine(lambda: held.tools.runtime.status(container), interruptible=True)
    return status is not None and status.state != "created"


async def _image(held: Held, run: Run) -> str:
    tools, image = held.tools, run.stage.image
    if run.stage.user and not tools.allow_user:
        raise RuntimeFailure(
            f"node {tools.node} does not let a stage choose its user ('{run.stage.user}')",
            kind="refused_by_node",
            hint="leave `user` out, or allow it in the node's configuration: [agent] allow_user",
        )
    if run.stage.network == "host" and not tools.allow_host_network:
        raise RuntimeFailure(
            f"node {tools.node} does not let a stage use the host's network",
            kind="refused_by_node",
            hint="leave `network` out, or allow it in the node's configuration: [agent] allow_host_network",
        )
    if not any(fnmatch(image, pattern) for pattern in tools.images):
        raise RuntimeFailure(
            f"node {tools.node} does not allow the image {image}",
            kind="refused_by_node",
            hint="its configuration says which: [agent] images",
        )
    pulling = False

    def progress(done: int, total: int) -> None:
        nonlocal pulling
        if not pulling:
            pulling = True
            held.telling.event("pull", f"pulling image {image}")
        held.telling.progress(Phase.PULL, done=done, total=total)

    digest = await held.engine(lambda: tools.runtime.ensure_image(image, progress))
    if pulling:
        held.telling.event("pulled", f"image {image} is here")
    return digest


async def _place(held: Held, run: Run) -> None:
    tools, project, k = held.tools, held.project, held.journal.attempt
    found = await held.patiently(
        lambda: held.blocking(lambda: needs.find(tools.sources, project, run, attempt=k))
    )
    if found.missing:
        raise NotFound("; ".join(found.missing))
    sources = found.plan.sources()
    total = sum(source.size for source in sources)
    cold = tools.bytes_to_fetch(found.plan)
    done = 0
    loop = asyncio.get_running_loop()

    def progress(more: int) -> None:
        nonlocal done
        done += more
        loop.call_soon_threadsafe(lambda: held.telling.progress(Phase.FETCH, done=done, total=total))

    started = tools.clock.monotonic()
    await held.patiently(
        lambda: held.blocking(
            lambda: tools.placer.place(
                found.plan, progress=progress, cancelled=lambda: held.leaving or held.interrupted()
            )
        )
    )
    files = len(sources)
    if files:
        held.telling.event(
            "fetched",
            f"{files} file{'s' if files != 1 else ''} in place, {size_text(cold)} of {size_text(total)} fetched"
            f" in {tools.clock.monotonic() - started:.1f} s (the rest was cached)",
            {"files": files, "bytes": total, "fetched": cold},
        )


async def _secrets(held: Held, run: Run) -> tuple[Mount, ...]:
    if not run.secrets:
        return ()
    tools, home = held.tools, held.tools.journals.home(held.journal)
    try:
        lent = await held.blocking(lambda: tools.vault.lend(run.secrets, home))
    except InvalidInput as error:
        raise RuntimeFailure(
            f"node {tools.node}: {error}", kind="refused_by_node", hint=error.hint
        ) from error
    return (Mount(target=vault.PLACE, source=lent, read_only=True),)


async def _give_secrets(held: Held, spec: ContainerSpec, container: str) -> None:
    """Before it starts: nobody but who it runs as can read them."""
    tools = held.tools
    lent = next((mount.source for mount in spec.mounts if mount.target == vault.PLACE), None)
    if lent is None:
        return
    user = await held.engine(lambda: tools.runtime.user(container), interruptible=True)
    try:
        await held.blocking(lambda: tools.vault.give(lent, user))
    except PermissionError as error:
        raise RuntimeFailure(
            f"node {tools.node}: its agent cannot give a secret to the stage's user '{spec.user or user}'",
            kind="refused_by_node",
            hint="leave out `user`, or run that agent as root",
        ) from error


async def _spec(held: Held, run: Run) -> ContainerSpec:
    tools, journal, project = held.tools, held.journal, held.project
    placed = await held.placed()
    mounts = (*placed.mounts, *await _secrets(held, run))
    places = tools.runtime.places(mounts)
    stage = run.stage
    return ContainerSpec(
        name=f"winslow-{tools.site}-{journal.project}-{journal.run}.{journal.attempt}-{journal.claim[:8]}",
        labels=Labels(
            site=tools.site,
            node_uuid=tools.node_uuid,
            project=journal.project,
            run=journal.run,
            attempt=journal.attempt,
            claim=journal.claim,
        ),
        image=stage.image,
        directory=tools.journals.home(journal),
        command=stage.command,
        entrypoint=stage.entrypoint,
        environment=environment.resolve(
            project_id=project.id, project_name=project.name, run=run, places=places, gpus=len(journal.gpus)
        ),
        mounts=mounts,
        workdir=stage.workdir or environment.WORKSPACE,
        user=stage.user,
        cpus=stage.requires.cpus,
        memory=stage.requires.memory,
        shm=stage.requires.shm,
        gpus=journal.gpus,
        network=stage.network,
        log_limit=tools.log_limit,
    )
