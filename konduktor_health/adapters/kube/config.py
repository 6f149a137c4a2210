"""How is the API server reached, and as whom? In-cluster, else a kubeconfig.

The official client loads the configuration (contexts, exec plug-ins, certificates, OIDC) into
a Configuration of our own; its process-wide default is never touched. It is imported inside
functions: it costs 0.2 s, which commands that need no cluster do not pay.

Whatever is wrong with the files is a ConfigError with one sentence and a hint. Proxies and CA
bundles of the environment are ignored; a kubeconfig's own ``proxy-url`` is honoured.
"""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from konduktor_health.clock import Clock
from konduktor_health.errors import ClusterUnavailable, ConfigError, excerpt

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
DEFAULT_NAMESPACE = "konduktor-health"
PLUGIN_TIMEOUT_S = 30.0  # a credential plug-in that asks a cloud takes seconds, not minutes
TOKEN_CHECK_S = 10.0  # in-cluster tokens are replaced when 80 % of their hour is over

_T = TypeVar("_T")


class Access:
    """Where the API server is and how we authenticate. Thread-safe.

    ``origin`` names the source in messages: "in-cluster" or the kubeconfig's path.
    """

    def __init__(self, configuration: Any, origin: str, clock: Clock) -> None:
        self._configuration = configuration
        self._clock = clock
        self._lock = threading.Lock()
        self._token = _checked_token(configuration, origin)
        self._next_check = clock.monotonic() + TOKEN_CHECK_S
        self.origin = origin
        self.server = str(configuration.host).rstrip("/")
        self.proxy: str | None = configuration.proxy or None
        if self.proxy and not self.proxy.startswith(("http://", "https://")):
            raise ConfigError(
                f"{origin}: proxy-url {excerpt(self.proxy)!r} cannot be used",
                hint="only proxies of http:// and https:// are supported",
            )
        self.tls_server_name: str | None = configuration.tls_server_name or None
        self.verify = bool(configuration.verify_ssl)
        self.ssl_context = _ssl_context(configuration, origin)

    def headers(self) -> dict[str, str]:
        """Authorization header, with a token that the loader has renewed when it was due.

        Raises ClusterUnavailable when a credential plug-in hangs or fails.
        """
        if not self._token:
            return {}
        with self._lock:
            if self._clock.monotonic() >= self._next_check:
                self._token = within(PLUGIN_TIMEOUT_S, self._renewed, "the credential plug-in")
                self._next_check = self._clock.monotonic() + TOKEN_CHECK_S
            return {"authorization": self._token}

    def _renewed(self) -> str:
        try:
            if self._configuration.refresh_api_key_hook is not None:
                self._configuration.refresh_api_key_hook(self._configuration)
        except Exception as error:  # the loader and plug-ins raise anything
            raise ClusterUnavailable(
                f"credentials of {self.origin} could not be renewed: {excerpt(str(error))}"
            ) from error
        try:
            return _checked_token(self._configuration, self.origin)
        except ConfigError as error:  # a half-written token file: the next try may find it whole
            raise ClusterUnavailable(str(error), hint=error.hint) from error


def load(
    kubeconfig: Path | None,
    context: str,
    clock: Clock,
    environ: Mapping[str, str] = os.environ,
    service_account: Path = SERVICE_ACCOUNT,
) -> Access:
    """Load the first of: the given kubeconfig, in-cluster, KUBECONFIG, ~/.kube/config.

    A context is asked for only in a kubeconfig, so one given skips in-cluster.
    Raises ConfigError.
    """
    from kubernetes.client.configuration import Configuration

    # "" and not None: None would take the environment's proxies
    configuration = Configuration(proxy="", no_proxy="")
    if kubeconfig is None and not context and _in_cluster(environ, service_account):
        _load_in_cluster(configuration, environ, service_account)
        return Access(configuration, "in-cluster", clock)
    path = _kubeconfig_path(kubeconfig, environ)
    nowhere = configuration.host
    _load_kubeconfig(configuration, path, context)
    if configuration.host == nowhere or not str(configuration.host).startswith("http"):
        raise ConfigError(
            f"kubeconfig {path}: the cluster has no server URL",
            hint="clusters[].cluster.server must be a URL such as https://127.0.0.1:6443",
        )
    return Access(configuration, path, clock)


def namespace_of_pod(service_account: Path = SERVICE_ACCOUNT) -> str:
    """Namespace that this process runs in, else the default one."""
    try:
        text = (service_account / "namespace").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return DEFAULT_NAMESPACE
    return text or DEFAULT_NAMESPACE


def within(seconds: float, work: Callable[[], _T], what: str) -> _T:
    """Result of ``work``, which cannot be given a deadline itself, or ClusterUnavailable.

    A hanging ``work`` is left behind on a daemon thread.
    """
    results: list[_T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="kube-deadline", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise ClusterUnavailable(f"{what} did not finish within {seconds:g} s")
    return results[0]


def _in_cluster(environ: Mapping[str, str], service_account: Path) -> bool:
    return bool(environ.get("KUBERNETES_SERVICE_HOST")) and (service_account / "token").is_file()


def _load_in_cluster(configuration: Any, environ: Mapping[str, str], directory: Path) -> None:
    from kubernetes.config.config_exception import ConfigException
    from kubernetes.config.incluster_config import InClusterConfigLoader

    loader: Any = InClusterConfigLoader  # untyped
    try:
        loader(
            token_filename=str(directory / "token"),
            cert_filename=str(directory / "ca.crt"),
            environ=environ,
        ).load_and_set(configuration)
    except (ConfigException, OSError, ValueError) as error:
        raise ConfigError(
            f"in-cluster configuration: {excerpt(str(error))}",
            hint="the pod needs a service account token (automountServiceAccountToken)",
        ) from error


def _kubeconfig_path(given: Path | None, environ: Mapping[str, str]) -> str:
    if given is not None:
        if not given.is_file():
            raise ConfigError(f"kubeconfig {given}: no such file", hint="check --kubeconfig")
        return str(given)
    listed = environ.get("KUBECONFIG", "")
    if listed:
        if not any(Path(part).expanduser().is_file() for part in listed.split(":") if part):
            raise ConfigError(f"KUBECONFIG={excerpt(listed)}: no such file", hint="unset or fix it")
        return listed
    default = Path("~/.kube/config").expanduser()
    if not default.is_file():
        raise ConfigError(
            "no cluster: not running in a pod, KUBECONFIG is not set, ~/.kube/config is missing",
            hint="give --kubeconfig FILE, or set KUBECONFIG",
        )
    return str(default)


def _load_kubeconfig(configuration: Any, path: str, context: str) -> None:
    from kubernetes.config.kube_config import load_kube_config

    loader: Any = load_kube_config  # untyped
    try:
        within(
            PLUGIN_TIMEOUT_S,
            lambda: loader(
                config_file=path, context=context or None, client_configuration=configuration
            ),
            "the credential plug-in",
        )
    except Exception as error:  # the loader meets odd structures with any exception
        raise ConfigError(
            f"kubeconfig {path}: {_first_line(error)}",
            hint="kubectl config view --minify shows what kubectl makes of it; --context NAME",
        ) from error
    if not _token(configuration) and not configuration.cert_file:
        _refuse_silent_plugin(path, context)


def _refuse_silent_plugin(path: str, context: str) -> None:
    """The loader only logs a failing credential plug-in; then every call would answer 401."""
    import yaml
    from kubernetes.config.kube_config import list_kube_config_contexts

    lister: Any = list_kube_config_contexts  # untyped
    contexts, current = lister(path)
    chosen = next((c for c in contexts if c["name"] == context), current) if context else current
    user_name = chosen["context"].get("user")
    for part in filter(None, path.split(":")):
        try:
            content = yaml.safe_load(Path(part).expanduser().read_text(encoding="utf-8"))
        except OSError:
            continue
        for user in content.get("users") or []:
            if user.get("name") == user_name and "exec" in (user.get("user") or {}):
                command = excerpt(str(user["user"]["exec"].get("command", "")))
                raise ConfigError(
                    f"kubeconfig {path}: credential plug-in {command!r} of user {user_name!r} "
                    "gave no credential",
                    hint="run any kubectl command with this kubeconfig to see what it says",
                )


def _token(configuration: Any) -> str:
    # stripped: a token file that ends in a newline would make an invalid header
    return str(configuration.api_key.get("BearerToken") or "").strip()


def _checked_token(configuration: Any, origin: str) -> str:
    """The token, if it can be a header: http.client's own complaint would print it."""
    token = _token(configuration)
    if not (token.isascii() and token.isprintable()):
        raise ConfigError(
            f"{origin}: the token holds a line feed or a character that no token has",
            hint="check token and tokenFile of the kubeconfig's user",
        )
    return token


def _first_line(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    text = excerpt(" ".join(str(error).split()))
    return (
        f"{text}"
        if type(error).__module__.startswith(("kubernetes", "konduktor"))
        else (f"not a valid kubeconfig: {text or type(error).__name__}")
    )


def _ssl_context(configuration: Any, origin: str) -> ssl.SSLContext | None:
    """One context for all connections: certificates are read once, mistakes show here."""
    if not str(configuration.host).startswith("https"):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # cluster CAs often lack the extensions that Python 3.13 began to demand
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    try:
        if not configuration.verify_ssl:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif configuration.ssl_ca_cert:
            context.load_verify_locations(cafile=configuration.ssl_ca_cert)
        else:
            context.load_default_certs()
        if configuration.cert_file:
            context.load_cert_chain(configuration.cert_file, configuration.key_file)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigError(
            f"{origin}: certificates cannot be used: {excerpt(str(error))}",
            hint="check certificate-authority, client-certificate and client-key",
        ) from error
    return context
