"""State URLs against real servers: users with few rights, and TLS in every form."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dispatch_celery.config import Settings
from dispatch_celery.errors import ConfigurationError, StoreUnavailable
from dispatch_celery.store.client import RedisStore
from dispatch_celery.store.embedded import EmbeddedServer, find_server
from dispatch_celery.store.replies import ask
from dispatch_celery.store.scripts import Call
from tests.lua.world import World
from tests.support.cluster import Sentinel
from tests.support.eventually import eventually
from tests.support.servers import (
    Certificates,
    ask_server,
    free_port,
    make_certificates,
    server_with_tls,
    tls_server,
    user_url,
)

Opener = Callable[..., RedisStore]


@pytest.fixture
def opened(namespace: str) -> Iterator[Opener]:
    """Return what opens a state URL in this test's namespace, and closes it after the test."""
    stores: list[RedisStore] = []

    def opener(url: str) -> RedisStore:
        stores.append(RedisStore(Settings(namespace=namespace, command_timeout=2), url))
        return stores[-1]

    yield opener
    for store in stores:
        store.close()


def _binaries() -> dict[str, Path]:
    """Return the servers at hand: they word their refusals differently."""
    found = {"bundled": find_server().path}
    for name in ("redis-server", "valkey-server"):
        path = shutil.which(name)
        if path is not None:
            found[name] = Path(path)
    return found


# -- users


@pytest.fixture(scope="module", params=list(_binaries()))
def guarded(request: pytest.FixtureRequest) -> Iterator[EmbeddedServer]:
    """Return a server with a password, of each kind at hand."""
    with EmbeddedServer(append_only=False, password="door", binary=_binaries()[request.param]) as server:  # noqa: S106
        yield server


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (("~*", "&*", "+@all", "-eval"), r"forbids jobs/enqueue on .* to the user bob: .*'eval'"),
        (("~*", "&*", "+@all", "-hset"), r"forbids jobs/enqueue on .* to the user bob: .*(hset|command)"),
        (("~other:*", "&*", "+@all"), r"forbids jobs/enqueue on .* to the user bob: .*key"),
        (("~*", "&*", "+@all", "-select"), r"forbids a new connection on .* to the user bob: .*'select'"),
    ],
)
def test_what_a_user_may_not_do_is_named_with_the_remedy(
    rules: tuple[str, ...], words: str, guarded: EmbeddedServer, opened: Opener, namespace: str
) -> None:
    """The script, the command or key in the server's words, and the rule to set; and that rule is enough."""
    world = World(opened(user_url(guarded, *rules, database=1)), namespace)

    with pytest.raises(ConfigurationError, match=words) as caught:
        _enqueue(world)
    assert f"on the keys {world.keys.tag}*" in str(caught.value)

    _, _, remedy = str(caught.value).partition("allow it: ACL SETUSER bob ")
    world = World(opened(user_url(guarded, *remedy.split(), database=1)), namespace)
    _enqueue(world)
    held = world.running(key="k2", scope="a/b")
    assert world.end("complete", held).verdict == "DONE"
    assert b"redis_version" in world.ask("INFO", "everything")


def _enqueue(world: World) -> None:
    """Enqueue a job, and raise what is answered in its place."""
    (answer,) = world.jobs.enqueue([world.job(key="k")])
    if isinstance(answer, Exception):
        raise answer


@pytest.mark.parametrize("credentials", ["", ":wrong@", "nobody:door@"])
def test_wrong_credentials_are_a_matter_of_configuration(
    credentials: str, guarded: EmbeddedServer, opened: Opener
) -> None:
    """Without, with a wrong or a stranger's password: the setting is named, and no password is shown."""
    store = opened(f"redis://{credentials}127.0.0.1:{guarded.port}/0")

    with pytest.raises(ConfigurationError, match=r"refuses these credentials: .*dispatch_redis_url") as caught:
        ask(store, Call.command("PING"))
    assert "wrong@" not in str(caught.value)


def test_a_password_that_is_taken_away_is_noticed(opened: Opener, guarded: EmbeddedServer) -> None:
    """An open connection of a user who is changed is closed by the server; the next one says why it is refused."""
    store = opened(user_url(guarded, "~*", "&*", "+@all"))
    assert ask(store, Call.command("PING")) == b"PONG"

    ask_server(guarded, "ACL", "DELUSER", "bob")

    with pytest.raises(ConfigurationError, match="refuses these credentials"):
        ask(store, Call.command("PING"))


def test_a_sentinel_that_wants_a_password_is_a_matter_of_configuration(
    server: EmbeddedServer, opened: Opener, tmp_path: Path
) -> None:
    """The error names the Sentinel; with its own password in the URL it opens, and an unknown master is said."""
    with Sentinel(tmp_path, server.port, password="gate") as sentinel:  # noqa: S106 - of a server of one test
        with pytest.raises(ConfigurationError, match=rf"credentials: .*127\.0\.0\.1:{sentinel.port} .*required"):
            ask(opened(sentinel.state_url), Call.command("PING"))

        url = f"{sentinel.state_url}&sentinel_password=gate"
        assert ask(opened(url), Call.command("PING")) == b"PONG"
        with pytest.raises(StoreUnavailable, match=rf"'other': 127\.0\.0\.1:{sentinel.port} does not know it"):
            ask(opened(url.replace("=shop", "=other")), Call.command("PING"))


def test_a_database_that_is_not_there_is_a_matter_of_configuration(opened: Opener, server: EmbeddedServer) -> None:
    """What the server says to a new connection is not "no answer"."""
    with pytest.raises(ConfigurationError, match=r"refuses connections: .*out of range"):
        ask(opened(server.url.replace("/0", "/9999")), Call.command("PING"))


# -- TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Return files for TLS."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on PATH")
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def secure_binary(certificates: Certificates) -> Path:
    """Return a server that was built with TLS; the bundled one is not."""
    found = server_with_tls(certificates)
    if found is None:
        pytest.skip("no redis-server or valkey-server with TLS on PATH")
    return found


@pytest.fixture(params=["single", "sentinel", "cluster"])
def secure_url(
    request: pytest.FixtureRequest, secure_binary: Path, certificates: Certificates, tmp_path: Path
) -> Iterator[str]:
    """Return the URL of a server that answers with TLS alone, in each form, without what to trust."""
    options = {"cluster": ("--cluster-enabled", "yes", "--tls-cluster", "yes")}.get(request.param, ())
    with tls_server(secure_binary, certificates, *options) as (server, port):
        if request.param == "single":
            yield f"rediss://127.0.0.1:{port}/0?"
        elif request.param == "cluster":
            ask_server(server, "CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
            eventually(lambda: b"cluster_state:ok" in ask_server(server, "CLUSTER", "INFO"), what="it has its slots")
            yield f"rediss+cluster://127.0.0.1:{port}?"
        else:
            own = free_port()
            listens = ("--tls-port", str(own), *certificates.options, "--tls-replication", "yes")
            with Sentinel(tmp_path, port, binary=secure_binary, options=listens) as sentinel:
                eventually(lambda: sentinel.knows(port), what="the sentinel knows the server")
                yield f"rediss+sentinel://127.0.0.1:{own}/0?master_name=shop"


def test_tls_holds_in_every_form(secure_url: str, certificates: Certificates, opened: Opener, namespace: str) -> None:
    """With the authority in the URL a job's life works; without it the server is not trusted."""
    world = World(opened(f"{secure_url}&ssl_ca_certs={certificates.authority}"), namespace)
    held = world.running()
    assert world.end("complete", held).verdict == "DONE"

    with pytest.raises(StoreUnavailable, match="certificate verify failed"):
        ask(opened(secure_url), Call.command("PING"))
    assert ask(opened(f"{secure_url}&ssl_cert_reqs=CERT_NONE"), Call.command("PING")) == b"PONG"
