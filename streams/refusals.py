"""What a broker or a state store refuses for good: waiting does not help, so it is said at once, with the remedy.

An outage is waited for. A wrong password, a certificate that is not trusted or a permission that was never granted would
be waited for without end, so it ends a worker with an error: mended, it is started again, and reads passwords from their
files anew.
"""

from __future__ import annotations

import re
import ssl

from aiokafka import errors as kafka
from redis import exceptions as redis

from schemas.errors import printable

from .errors import AccessError, StreamError

BROKER, STORE = "the broker", "the state store"
_TOLD = 200
_LOG_IN = (
    kafka.AuthenticationFailedError,
    kafka.SaslAuthenticationFailed,
    kafka.UnsupportedSaslMechanismError,
    kafka.IllegalSaslStateError,
)
_DENIED = (
    kafka.TopicAuthorizationFailedError,
    kafka.GroupAuthorizationFailedError,
    kafka.ClusterAuthorizationFailedError,
    kafka.TransactionalIdAuthorizationFailed,
)
_DENIED_IN_SCRIPT = re.compile(r"^ACL failure in script|user executing the script can't")
GRANT = "let its administrator grant it to Rapport's user: docs/security.md lists what each role needs"


def refusal(error: BaseException, where: str = "") -> AccessError | None:
    """The error in words with a remedy, where a server refuses for good; None where trying again may help.

    Parameters
    ----------
    where
        The server's address; without it, which kind of server it is.

    >>> print(refusal(redis.NoPermissionError("this user has no permissions to run the 'info' command")))
    the state store: found no permission (this user has no permissions to run the 'info' command); let its administrator \
grant it to Rapport's user: docs/security.md lists what each role needs
    >>> refusal(ConnectionResetError())
    """
    if isinstance(error, AccessError):
        return error
    if isinstance(error, _LOG_IN):
        return log_in_refused(where or BROKER, error)
    if isinstance(error, _DENIED):
        return AccessError(where or BROKER, f"no permission ({_told(error)})", GRANT)
    if isinstance(error, redis.NoPermissionError) or (
        isinstance(error, redis.ResponseError) and _DENIED_IN_SCRIPT.search(str(error))
    ):
        return AccessError(where or STORE, f"no permission ({_told(error)})", GRANT)
    if isinstance(error, redis.AuthenticationError | redis.AuthorizationError):
        remedy = "check RAPPORT_REDIS_USERNAME, and RAPPORT_REDIS_PASSWORD or RAPPORT_REDIS_PASSWORD_FILE"
        return AccessError(where or STORE, f"a state store that refuses the log-in ({_told(error)})", remedy)
    if isinstance(error, redis.RedisError | OSError) and (untrusted := certificate_error(error)) is not None:
        return certificate_refused(where or STORE, untrusted, "RAPPORT_REDIS_CA")
    return None


def log_in_refused(where: str, error: BaseException) -> AccessError:
    """A broker's refusal of user, password or mechanism."""
    remedy = "check RAPPORT_KAFKA_USERNAME, RAPPORT_KAFKA_MECHANISM, and RAPPORT_KAFKA_PASSWORD or RAPPORT_KAFKA_PASSWORD_FILE"
    return AccessError(where, f"a broker that refuses the log-in ({_told(error)})", remedy)


def certificate_refused(where: str, error: ssl.SSLCertVerificationError, variable: str) -> AccessError:
    """Our refusal of a server's certificate.

    Parameters
    ----------
    variable
        The setting that names the authorities to trust.
    """
    told = printable(error.verify_message or str(error), _TOLD).rstrip(".")
    remedy = f"name the file of its authority in {variable}, and the host as the certificate does"
    if "expired" in told or "not yet valid" in told:
        remedy = "let its administrator renew it, and check the clock of this machine"
    return AccessError(where, f"a certificate that is not trusted ({told})", remedy)


def certificate_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """The failed verification behind an error, however it is wrapped."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def store_error(error: BaseException, address: str, remedy: str = "name the state store: --redis URL") -> StreamError:
    """A failure of the state store, for a command: refused for good, or away.

    Parameters
    ----------
    remedy
        Where it is away.
    """
    return refusal(error, address) or StreamError(address, f"no answer ({type(error).__name__})", remedy)


def _told(error: BaseException) -> str:
    return printable(str(error) or type(error).__name__, _TOLD)
